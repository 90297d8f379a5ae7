"""The program that one engine runs in, by its path and in the engine's environment: nothing here imports mncc."""
