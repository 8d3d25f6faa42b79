"""What the guest reads first: pure functions, values in, bytes and load plans out."""
