"""The stratovirt command as a program that embeds Python (launcher.c)."""
