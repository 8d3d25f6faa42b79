"""QMP: the management protocol (QEMU's docs/interop/qmp-spec), in StratoVirt's shapes."""
