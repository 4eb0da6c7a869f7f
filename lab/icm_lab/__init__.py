"""The laboratory: language models small enough to be pretrained here, on worlds whose truth is known."""
