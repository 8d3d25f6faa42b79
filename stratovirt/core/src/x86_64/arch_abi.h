/* What the ABI has on x86_64 beside abi.h, by the same rules. */
/* [setup] The ports that are always there: keyboard controller (reset only), CMOS clock, ACPI sleep and
 * reset. */
struct sv_board_config {
	uint16_t i8042_port;
	uint16_t rtc_port;
	uint16_t sleep_port;
	uint16_t reset_port;
};
int sv_board_create(struct sv_vm *vm, const struct sv_board_config *config);

struct sv_uart;
/* [setup] A 16550 at a port with an interrupt line; transmits to out_fd without ever blocking on it. */
int sv_uart_create(struct sv_vm *vm, uint16_t port, uint32_t gsi, int out_fd, struct sv_uart **out);
/* [any] Gives the receiver bytes; returns how many it took. SV_EVENT_SERIAL_ROOM follows when it took less.
 */
int sv_uart_feed(struct sv_uart *uart, const void *bytes, int length);
