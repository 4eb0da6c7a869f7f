"""An extension as a whole: the job, its check, independent searches in batches, its page, and what it will cost."""
