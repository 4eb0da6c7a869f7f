"""LoRA adapters: their files, what is wrong with them, where they are kept, and who may use them."""
