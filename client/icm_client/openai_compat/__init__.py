"""Any OpenAI-compatible `/v1/completions` as a scorer."""

from icm_client.openai_compat.scorer import OpenAIScorer

__all__ = ["OpenAIScorer"]
