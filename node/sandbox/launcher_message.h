/* What the node and its launchers say to each other, over one SOCK_SEQPACKET pair.
 *
 * Both ends come from one build (the launcher is embedded in the node), so the bytes are the
 * struct's. A message is the fixed part followed by `text_bytes` of text and `command_bytes` of
 * command; descriptors travel beside it as SCM_RIGHTS. */

#ifndef NODE_SANDBOX_LAUNCHER_MESSAGE_H
#define NODE_SANDBOX_LAUNCHER_MESSAGE_H

#include <stdint.h>

/* How far a sandbox is kept from the machine, best first. */
enum launcher_tier {
    LAUNCHER_TIER_FULL,     /* root: namespaces, cgroups, a uid per sandbox, seccomp */
    LAUNCHER_TIER_USER,     /* user namespaces: the same without cgroups and uids */
    LAUNCHER_TIER_LANDLOCK, /* no namespaces: Landlock, seccomp, resource limits */
    LAUNCHER_TIER_LIMITS,   /* resource limits only */
    LAUNCHER_TIER_NONE      /* not even that is allowed: nothing may start */
};

enum launcher_message_kind {
    /* node -> launcher */
    LAUNCHER_SPAWN = 1,  /* fork and isolate `id`; descriptor: where its output goes */
    LAUNCHER_SPECIALISE, /* text = code folder, command = environment block; `id` may run now */
    LAUNCHER_KILL,       /* `id`, at once */
    /* launcher -> node */
    LAUNCHER_HELLO,   /* code = tier, text = what is missing and why ("" = nothing) */
    LAUNCHER_STARTED, /* `id` is isolated; descriptors: runtime listener, AWS listener (not below
                         tier USER), memory file, each where `flags` says so */
    LAUNCHER_FAILED,  /* `id` cannot run: text = step, code = errno. EXITED follows */
    LAUNCHER_EXITED   /* code = wait status, memory_mb = peak, flags = LAUNCHER_OUT_OF_MEMORY */
};

#define LAUNCHER_OUT_OF_MEMORY 1u /* EXITED: the kernel killed in its memory group */
#define LAUNCHER_HAS_AWS 1u       /* STARTED */
#define LAUNCHER_HAS_MEMORY 2u    /* STARTED: a file whose content tells the memory in use */
#define LAUNCHER_HAS_CGROUP 4u    /* STARTED: that file is a number of bytes, not a status file */

#define LAUNCHER_MESSAGE_BYTES_MAX 65536u
#define LAUNCHER_DESCRIPTORS_MAX 3
#define LAUNCHER_SANDBOXES_MAX 4096u

/* Ports inside a sandbox's own network namespace. */
#define LAUNCHER_RUNTIME_PORT 9001
#define LAUNCHER_AWS_PORT 4566

struct launcher_message {
    uint32_t kind;
    uint32_t code;
    uint64_t id;
    uint32_t flags;
    uint32_t memory_mb;    /* SPECIALISE: limit */
    uint32_t ephemeral_mb; /* SPECIALISE: size of /tmp */
    uint32_t port;         /* STARTED: of the runtime listener */
    uint32_t text_bytes;
    uint32_t command_bytes;
};

#endif
