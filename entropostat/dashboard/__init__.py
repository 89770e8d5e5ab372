"""What is made of the metric schema: wandb's workspace, and the tables of docs/dashboard.md."""
