"""-help is made from the registry and the records (compat/help.py)."""

from __future__ import annotations

from stratovirt.compat.help import usage
from stratovirt.compat.registry import flags


def test_every_flag_that_is_not_refused_stands_in_the_help() -> None:
    text = usage()
    missing = {item.name for item in flags().values() if not item.refused and f"-{item.name}" not in text}

    assert missing == set()


def test_refused_flags_do_not_stand_in_the_help() -> None:
    assert "-incoming" not in usage()


def test_lists_show_their_keys_and_what_may_be_left_out() -> None:
    text = usage()

    assert "-machine [type=]microvm|standard_vm[,dump-guest-core=on|off][,mem-share=on|off]" in text
    assert "-smp [cpus=]N" in text
    assert "-drive id=NAME,file=PATH[,readonly=on|off][,direct=on|off][,serial=TEXT]" in text
    assert "-serial stdio\n" in text
    assert "-device virtio-blk-device,drive=ID[,id=NAME][,serial=TEXT][,iothread=NAME][,iops=N]" in text
    assert "-device virtio-rng-device,rng=ID[,id=NAME][,max-bytes=N,period=MS]" in text
    assert "-chardev [socket,]id=NAME,path=PATH[,server][,nowait]\n" in text
    assert "-object rng-random,id=NAME,filename=PATH" in text
    assert "-device pcie-root-port,id=NAME,port=0xN,bus=NAME,addr=SLOT.FUNCTION" in text


def test_lines_fit_a_terminal_of_120_columns() -> None:
    assert max(len(line) for line in usage().splitlines()) <= 120
