"""ACPI tables as every architecture needs them: AML terms, table headers, root pointer."""
