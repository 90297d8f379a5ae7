"""What people look at: tables, the progress line, JSON, and how failures are told."""
