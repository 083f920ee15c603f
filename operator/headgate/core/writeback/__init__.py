"""What is to be written to Git after a rollback, and what must never be: pure and synchronous."""
