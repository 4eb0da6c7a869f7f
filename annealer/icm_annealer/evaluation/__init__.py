"""How good labels are, against gold. No search imports it."""
