#include "vsock_reply.h"

bool vsock_replies_full(const struct vsock_replies *replies)
{
	return replies->count == VSOCK_REPLIES;
}

void vsock_replies_put(struct vsock_replies *replies, const struct vsock_reply *reply)
{
	if (vsock_replies_full(replies))
		return;
	replies->ring[(replies->first + replies->count) % VSOCK_REPLIES] = *reply;
	replies->count++;
}

void vsock_replies_refuse(struct vsock_replies *replies, const struct vsock_header *header)
{
	struct vsock_reply reply = {header->dst_cid, header->dst_port, header->src_port, header->type};

	if (header->op != VSOCK_OP_RST)
		vsock_replies_put(replies, &reply);
}

bool vsock_replies_take(struct vsock_replies *replies, struct vsock_header *header)
{
	const struct vsock_reply *reply = &replies->ring[replies->first];

	if (replies->count == 0)
		return false;
	header->src_cid = reply->src_cid;
	header->src_port = reply->src_port;
	header->dst_port = reply->dst_port;
	header->type = reply->type;
	header->op = VSOCK_OP_RST;
	replies->first = (replies->first + 1) % VSOCK_REPLIES;
	replies->count--;
	return true;
}
