"""Fair sharing of limited resources between tenants and experiments, in short steps."""
