/* The consensus simulation: many Raft groups on the real host and journal, under faults drawn from
 * a seed, with a checker that sees everything.
 *
 * Swarm testing (Groce et al. 2012): each seed turns a random half of the fault kinds on and draws
 * their rates, since some bugs hide when every fault is on. First faults for a while, then all is
 * healed and every member has ten seconds to agree. What a majority would lose for good (wiped
 * disks, flipped bits) only ever happens to a minority at a time. */

#ifndef TESTS_SIM_CONSENSUS_H
#define TESTS_SIM_CONSENSUS_H

#include "tests/sim/seeds.h"

#define CONSENSUS_GROUPS_MAX 64u

#define CONSENSUS_FACT_MAP(X)                                                                      \
    X(COMMANDS_ACKED, "commands acknowledged")                                                     \
    X(COMMANDS_UNKNOWN, "commands with unknown outcome")                                           \
    X(READS, "strong reads")                                                                       \
    X(LEADERS, "terms with a leader")                                                              \
    X(CRASHES, "crashes")                                                                          \
    X(RESTARTS_ALL, "full restarts")                                                               \
    X(TORN, "power losses that tear")                                                              \
    X(WIPES, "wiped disks")                                                                        \
    X(FLIPS, "flipped bits")                                                                       \
    X(SPOILED, "spoiled stores")                                                                   \
    X(DISK_ERRORS, "processes stopped by a disk error")                                            \
    X(CUTS, "cuts")                                                                                \
    X(PAUSES, "pauses")                                                                            \
    X(DAMAGED, "damaged groups found")                                                             \
    X(RECOVERED, "damaged or wiped replicas recovered")                                            \
    X(SNAPSHOTS, "snapshots installed")                                                            \
    X(ADDED, "members added")                                                                      \
    X(REMOVED, "members removed")                                                                  \
    X(TRANSFERRED, "leaderships transferred")                                                      \
    X(DRAINED, "processes drained")                                                                \
    X(HINTS, "elections by a refused connection")

enum consensus_fact {
#define X(name, text) CONSENSUS_FACT_##name,
    CONSENSUS_FACT_MAP(X)
#undef X
        CONSENSUS_FACT_COUNT
};

const char *consensus_fact_text(enum consensus_fact fact);

enum consensus_profile {
    CONSENSUS_SWARM,  /* everything */
    CONSENSUS_TAILS,  /* leaders fall as they rise: tails of entries that nobody committed */
    CONSENSUS_STALLS, /* disks slower than elections: terms change while appends are under way */
    CONSENSUS_QUORUM  /* as tails, and only a majority heals: the rest stays down for good */
};

/* Bugs planted in the world around the groups, to see that the checker finds what they do. */
enum consensus_plant {
    CONSENSUS_PLANT_NONE,
    CONSENSUS_PLANT_SYNC_LIES,    /* the disk confirms what a power loss then takes */
    CONSENSUS_PLANT_DURABLE_LIES, /* so does the store */
    CONSENSUS_PLANT_AMNESIA,      /* disks are lost by more than a minority */
    CONSENSUS_PLANT_EARLY_READ,   /* whoever believes it leads answers a strong read at once */
    CONSENSUS_PLANT_SKIPPED_APPLY /* a replica leaves out one entry in two hundred */
};

struct consensus_options {
    uint32_t nodes; /* voters at birth; two more stand by */
    uint32_t groups;
    uint32_t ms; /* of faults */
    enum consensus_profile profile;
    uint64_t disable_guards;
    enum consensus_plant plant;
    uint32_t without; /* bits of fault kinds that are left out */
    bool trace;       /* the faults, on standard error */
    bool verbose;     /* every event and log line */
};

/* 0 when there is no such kind. */
uint32_t consensus_fault_bit(const char *name);

void consensus_run(const struct consensus_options *options, uint64_t seed,
                   struct seed_result *result);

#endif
