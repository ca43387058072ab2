/* A plugin of qemu's user emulation that follows every load and store through two levels of cache and says, when the program
 * ends, how many instructions it took and how many lines came from memory.
 *
 *     cc -O2 -shared -fPIC -o caches.so caches.c
 *     qemu-aarch64 -plugin ./caches.so,cpu=72 PROGRAM       (cpu: 72 for Cortex-A72 as on a Raspberry Pi 4, or 76)
 *
 * Caches are of lines of 64 bytes and forget what was used longest ago. There is no prefetcher, no side for instructions and
 * nothing is written back: what comes out compares programs, it is no forecast of a machine's counters. qemu's packages
 * come without its header: what is used of it is declared here, version 1 of the interface (qemu 7.2).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

struct block;
struct instruction;
typedef uint64_t plugin_id;
typedef uint32_t memory_info;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct block *));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct block *);
struct instruction *qemu_plugin_tb_get_insn(const struct block *, size_t);
void qemu_plugin_register_vcpu_insn_exec_inline(struct instruction *, int operation, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct instruction *, void (*)(unsigned, memory_info, uint64_t, void *), int flags,
                                      int direction, void *);
unsigned qemu_plugin_mem_size_shift(memory_info);

EXPORTED int qemu_plugin_version = 1;

enum { LINE = 64, ADD = 0, NO_REGISTERS = 0, READS_AND_WRITES = 3 };

struct cache {
    uint64_t *lines, *used, clock, misses;
    size_t sets, ways;
};

static struct cache first, second, third;
static uint64_t instructions;

static struct cache cache(size_t bytes, size_t ways) {
    struct cache made = {.sets = bytes / LINE / ways, .ways = ways};
    made.lines = malloc(sizeof(uint64_t) * made.sets * ways);
    memset(made.lines, 0xff, sizeof(uint64_t) * made.sets * ways);
    made.used = calloc(made.sets * ways, sizeof(uint64_t));
    return made;
}

/* Whether the line is there; it is afterwards. */
static bool has(struct cache *cache, uint64_t line) {
    size_t set = line % cache->sets * cache->ways, oldest = set;
    cache->clock++;
    for (size_t way = set; way < set + cache->ways; way++) {
        if (cache->lines[way] == line) {
            cache->used[way] = cache->clock;
            return true;
        }
        if (cache->used[way] < cache->used[oldest]) oldest = way;
    }
    cache->lines[oldest] = line;
    cache->used[oldest] = cache->clock;
    cache->misses++;
    return false;
}

static void touch(unsigned processor, memory_info info, uint64_t address, void *nothing) {
    (void)processor, (void)nothing;
    uint64_t last = address + (1u << qemu_plugin_mem_size_shift(info)) - 1;
    for (uint64_t line = address / LINE; line <= last / LINE; line++)
        if (!has(&first, line) && !has(&second, line) && third.sets) has(&third, line);
}

static void translate(plugin_id id, struct block *block) {
    (void)id;
    for (size_t at = 0; at < qemu_plugin_tb_n_insns(block); at++) {
        struct instruction *instruction = qemu_plugin_tb_get_insn(block, at);
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, &instructions, 1);
        qemu_plugin_register_vcpu_mem_cb(instruction, touch, NO_REGISTERS, READS_AND_WRITES, NULL);
    }
}

static void report(plugin_id id, void *nothing) {
    (void)id, (void)nothing;
    uint64_t from_memory = third.sets ? third.misses : second.misses;
    fprintf(stderr, "CACHES %" PRIu64 " instructions, %" PRIu64 " bytes from memory, %" PRIu64 " misses of the first cache\n",
            instructions, from_memory * LINE, first.misses);
}

EXPORTED int qemu_plugin_install(plugin_id id, const void *about, int count, char **words) {
    (void)about;
    bool is_a76 = false;
    for (int word = 0; word < count; word++) is_a76 |= !strcmp(words[word], "cpu=76");
    first = is_a76 ? cache(64 << 10, 4) : cache(32 << 10, 2);
    second = is_a76 ? cache(512 << 10, 8) : cache(1 << 20, 16);
    if (is_a76) third = cache(2 << 20, 16);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
