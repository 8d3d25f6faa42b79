"""QEMU's commands that this program does not have, each with the reason. Read when a client asks for one."""

from __future__ import annotations

# What the machine has nothing of, so that there is nothing to ask or to do.
NOT_APPLICABLE = {
    "there is no display, keyboard or mouse": """
        add_client change-vnc-password client_migrate_info display-reload display-update expire_password
        input-send-event query-display-options query-spice query-vnc query-vnc-servers screendump send-key
        set_password""",
    "images are raw: there is no graph of block nodes, no job, snapshot, bitmap or export": """
        block-commit block-dirty-bitmap-add block-dirty-bitmap-clear block-dirty-bitmap-disable
        block-dirty-bitmap-enable block-dirty-bitmap-merge block-dirty-bitmap-remove block-export-add
        block-export-del block-job-cancel block-job-complete block-job-dismiss block-job-finalize
        block-job-pause block-job-resume block-job-set-speed block-set-write-threshold block-stream
        blockdev-backup blockdev-create blockdev-mirror blockdev-reopen blockdev-snapshot
        blockdev-snapshot-delete-internal-sync blockdev-snapshot-internal-sync blockdev-snapshot-sync
        change-backing-file drive-backup drive-mirror job-cancel job-complete job-dismiss job-finalize
        job-pause job-resume nbd-server-add nbd-server-remove nbd-server-start nbd-server-stop
        query-pr-managers transaction x-blockdev-amend x-blockdev-change x-blockdev-set-iothread
        x-debug-block-dirty-bitmap-sha256 x-debug-query-block-graph""",
    "a disk is no drive with a tray: device_del and device_add change its image": """
        blockdev-change-medium blockdev-close-tray blockdev-insert-medium blockdev-open-tray
        blockdev-remove-medium eject""",
    "there is no migration and no snapshot": """
        announce-self calc-dirty-rate cancel-vcpu-dirty-limit migrate migrate-continue migrate-incoming
        migrate-pause migrate-recover migrate-set-capabilities migrate-set-parameters
        migrate-start-postcopy migrate_cancel query-colo-status query-dirty-rate query-migrate
        query-migrate-capabilities query-migrate-parameters query-vcpu-dirty-limit set-vcpu-dirty-limit
        snapshot-delete snapshot-load snapshot-save x-colo-lost-heartbeat x-query-rdma""",
    "there are no objects: what a machine is made of stands in its document": """
        object-add object-del qom-get qom-list qom-list-properties qom-set""",
    "there is no such hardware": """
        query-dump-guest-memory-capability query-rocker query-rocker-of-dpa-flows
        query-rocker-of-dpa-groups query-rocker-ports query-sev query-sev-attestation-report
        query-sev-capabilities query-sev-launch-measure query-sgx query-sgx-capabilities query-tpm
        query-vm-generation-id query-xen-replication-status rtc-reset-reinjection
        sev-inject-launch-secret watchdog-set-action xen-colo-do-checkpoint xen-load-devices-state
        xen-save-devices-state xen-set-global-dirty-log xen-set-replication""",
    "there is no replay, no trace and no translated code": """
        query-replay replay-break replay-delete-break replay-seek trace-event-get-state
        trace-event-set-state x-query-jit x-query-opcount x-query-profile""",
    "there is one node of memory, and it does not change": "set-numa-node x-query-numa",
    "a machine starts by itself, or with cont after -S": "x-exit-preconfig",
    "there is no power button and no sleep: ask the guest over a console or vsock": """
        system_powerdown system_wakeup""",
    "character devices are fixed when the machine starts": """
        chardev-add chardev-change chardev-remove chardev-send-break query-chardev-backends
        ringbuf-read ringbuf-write""",
    "a connection cannot hang: no client blocks the machine": "query-yank yank",
}

# What could be done, and is not.
REFUSED = {
    "there is no human monitor": "human-monitor-command",
    "guest memory stays in the machine: share it (mem-share=on) to read it from outside": """
        dump-guest-memory memsave pmemsave query-dump""",
    "a reset ends the machine; start it again": "system_reset",
    "what happens at an end of the guest is fixed": "set-action",
    "interrupts come from devices only": "inject-nmi",
    "limits of a disk stand in its profile": "block_set_io_throttle",
    "a disk has the size of its image: replace the image": "block_resize",
    "a card's link follows its backend: device_del and device_add change it": "set_link",
    "descriptors are passed by getfd": "add-fd remove-fd",
    "the tables of the guest are its own": "dumpdtb",
    "device internals are not shown": """
        block-latency-histogram-set query-blockstats query-qmp-schema query-rx-filter query-stats
        query-stats-schemas x-query-irq x-query-ramblock x-query-roms x-query-usb x-query-virtio
        x-query-virtio-queue-element x-query-virtio-queue-status x-query-virtio-status
        x-query-virtio-vhost-queue-status query-cpu-model-expansion""",
}


def table() -> dict[str, tuple[str, str]]:
    """Return status and reason of each command that is not there."""
    return {
        name: (status, reason)
        for status, groups in (("not applicable", NOT_APPLICABLE), ("refused", REFUSED))
        for reason, names in groups.items()
        for name in names.split()
    }
