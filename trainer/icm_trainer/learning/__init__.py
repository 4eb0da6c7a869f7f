"""What every training shares: steps, checkpoints, room on the disk."""
