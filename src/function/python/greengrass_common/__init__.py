"""What greengrasssdk asks of the core it runs on: who the function is, and how ARNs are taken apart."""
