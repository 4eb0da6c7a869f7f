"""The laboratory: small language models, pretrained on artificial worlds with known truth."""
