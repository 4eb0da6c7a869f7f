"""How what is limited is shared: by tenants and experiments, in short steps."""
