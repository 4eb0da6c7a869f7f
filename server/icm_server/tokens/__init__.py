"""From texts to tokens: prefixes, prompts and labels."""
