"""How greengrasssdk reaches the core: work for other functions, and what came of it."""
