/* KVM's structures and requests of Arm that Python fills: none yet, since no machine is built. */
