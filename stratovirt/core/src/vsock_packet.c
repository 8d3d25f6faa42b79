#include "vsock_packet.h"

#include <stddef.h>

_Static_assert(offsetof(struct vsock_header, fwd_cnt) + 4 == VSOCK_HEADER_SIZE, "no padding inside");

enum vsock_verdict vsock_packet_take(struct span *chain, uint64_t guest_cid, struct vsock_header *header)
{
	if (chain->bytes < VSOCK_HEADER_SIZE)
		return VSOCK_DROP;
	span_take(chain, header, VSOCK_HEADER_SIZE);
	if (header->src_cid != guest_cid)
		return VSOCK_DROP;
	if (header->dst_cid != VSOCK_CID_HOST || header->type != VSOCK_TYPE_STREAM)
		return VSOCK_REFUSE;
	if (header->src_port == VSOCK_PORT_ANY || header->dst_port == VSOCK_PORT_ANY)
		return VSOCK_REFUSE;
	if (header->op == VSOCK_OP_INVALID || header->op > VSOCK_OP_CREDIT_REQUEST)
		return VSOCK_REFUSE;
	if (header->len > chain->bytes)
		return VSOCK_REFUSE;
	span_cut(chain, header->len);
	return VSOCK_ACCEPT;
}

void vsock_packet_put(struct span *chain, const struct vsock_header *header)
{
	span_put(chain, header, VSOCK_HEADER_SIZE);
}

uint32_t vsock_credit(uint32_t buf_alloc, uint32_t fwd_cnt, uint32_t tx_cnt)
{
	uint32_t in_flight = tx_cnt - fwd_cnt;

	return in_flight < buf_alloc ? buf_alloc - in_flight : 0;
}
