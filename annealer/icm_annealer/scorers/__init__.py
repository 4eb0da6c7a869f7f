"""Opens scorers by name: `local:smollm2-135m`, `http://gpu-box:8000`, `openai:http://gpu-box:8000`."""
