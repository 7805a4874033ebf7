//go:build ignore

/* (The line above keeps cgo away; howdah compiles this file itself.) */

/* Gives a process the identity of its node on a loopback network: preloaded, it acts
 * for programs that have HOWDAH_IP in their environment. Only stream sockets.
 *   bind    of the wildcard binds the node's address instead
 *   listen  on a socket never bound, which would take the wildcard, the same
 *   connect to 127/8 of a socket never bound leaves from the node's address
 * An AF_INET6 socket uses the address as ::ffff:a.b.c.d. No allocation, no locks:
 * what is set before main is only read afterwards. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* _GNU_SOURCE would declare bind and connect with other parameter types */
#ifndef RTLD_NEXT
#define RTLD_NEXT ((void *)-1l)
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static int (*next_bind)(int, const struct sockaddr *, socklen_t);
static int (*next_connect)(int, const struct sockaddr *, socklen_t);
static int (*next_listen)(int, int);
static struct in_addr node; /* 0.0.0.0: not asked to act */

__attribute__((constructor)) static void setup(void) {
	const char *ip = getenv("HOWDAH_IP");
	*(void **)&next_bind = dlsym(RTLD_NEXT, "bind");
	*(void **)&next_connect = dlsym(RTLD_NEXT, "connect");
	*(void **)&next_listen = dlsym(RTLD_NEXT, "listen");
	if (!ip || inet_pton(AF_INET, ip, &node) != 1)
		node.s_addr = INADDR_ANY;
}

/* Constructors of other libraries may come before ours. */
static void ready(void) {
	if (!next_listen)
		setup();
}

/* The IPv4 address that a socket address stands for; [::] counts as 0.0.0.0. */
static int ipv4_of(const struct sockaddr *sa, socklen_t len, struct in_addr *out) {
	if (sa && sa->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		*out = ((const struct sockaddr_in *)sa)->sin_addr;
		return 1;
	}
	if (sa && sa->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)sa)->sin6_addr;
		if (!IN6_IS_ADDR_V4MAPPED(a) && !IN6_IS_ADDR_UNSPECIFIED(a))
			return 0;
		memcpy(out, &a->s6_addr[12], sizeof *out);
		return 1;
	}
	return 0;
}

static int is_stream(int fd) {
	int type = 0;
	socklen_t len = sizeof type;
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Binds fd to the node's address, in the family and with the port of like. */
static int bind_node(int fd, const struct sockaddr *like) {
	if (like->sa_family == AF_INET) {
		struct sockaddr_in a = *(const struct sockaddr_in *)like;
		a.sin_addr = node;
		return next_bind(fd, (struct sockaddr *)&a, sizeof a);
	}
	struct sockaddr_in6 a = *(const struct sockaddr_in6 *)like;
	int off = 0; /* an IPv6-only socket refuses mapped addresses */
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	memset(&a.sin6_addr, 0, 10);
	memset(&a.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&a.sin6_addr.s6_addr[12], &node, sizeof node);
	return next_bind(fd, (struct sockaddr *)&a, sizeof a);
}

/* Gives a socket that was never bound the node's address, as far as it can. */
static void bind_unbound(int fd) {
	struct sockaddr_storage own; /* of both families: the port lies at the same place */
	socklen_t len = sizeof own;
	struct in_addr ip;
	int on = 1, kept = errno;
	if (is_stream(fd) && getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
	    ipv4_of((struct sockaddr *)&own, len, &ip) && ip.s_addr == INADDR_ANY &&
	    ((struct sockaddr_in *)&own)->sin_port == 0) {
		/* else the port would be chosen now, for all destinations together */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		bind_node(fd, (struct sockaddr *)&own);
	}
	errno = kept;
}

int bind(int fd, const struct sockaddr *addr, socklen_t len) {
	struct in_addr ip;
	int kept = errno;
	ready();
	if (node.s_addr != INADDR_ANY && ipv4_of(addr, len, &ip) && ip.s_addr == INADDR_ANY && is_stream(fd)) {
		errno = kept;
		return bind_node(fd, addr);
	}
	errno = kept;
	return next_bind(fd, addr, len);
}

int connect(int fd, const struct sockaddr *addr, socklen_t len) {
	struct in_addr ip;
	ready();
	if (node.s_addr != INADDR_ANY && ipv4_of(addr, len, &ip) && ntohl(ip.s_addr) >> 24 == 127)
		bind_unbound(fd);
	return next_connect(fd, addr, len);
}

int listen(int fd, int backlog) {
	ready();
	if (node.s_addr != INADDR_ANY)
		bind_unbound(fd);
	return next_listen(fd, backlog);
}
