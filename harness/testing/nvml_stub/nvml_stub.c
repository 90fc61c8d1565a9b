/* A stand-in for NVIDIA's libnvidia-ml.so.1, so that the real Python binding can be tested without a GPU.

   Every call reads the state file that $NVML_STUB_STATE names. One directive a line; those about a card hold for the
   card or instance named last:

     driver 550.54                       version of the driver
     cuda 12040                          the CUDA version that it supports: 12.4
     long_entries                        _v3 process entries carry a fifth field, as in drivers 535.43 to 535.86
     card UUID TOTAL NAME...             a GPU with TOTAL bytes
     instance UUID PARENT TOTAL NAME...  a MIG instance of the card PARENT
     partitioned                         MIG mode is on
     accounting                          the driver keeps a peak for each process
     persistent                          the driver stays loaded
     exclusive                           compute mode: one process at a time
     capability MAJOR MINOR              compute capability
     base BYTES                          memory in use that belongs to no process
     fails memory|processes|instances|all CODE
     process PID rss|file:PATH|pool:BASE:STEP|BYTES [as PID] [unlisted] [unmeasured] [twice]
     descendants [SOURCE [FLAG...]]      a process for each one that descends from whoever asks, as `process PID SOURCE`
                                         (rss unless named), if it left the process group of whoever asks, as trials do

   A process holds what the kernel says is resident (rss), or the figure in the file at PATH, or BYTES, or what its
   TensorFlow allocator took by the log that its standard error goes to, with BASE bytes for its context and STEP bytes
   for each time that the allocator took more, as libraries load while a trial goes on (pool); once it has ended it
   holds nothing. Its memory counts in the card's use in any case; `as` lists it under another number,
   `unlisted` leaves it out of the list, as drivers do with those of other containers, `unmeasured` lists it without its
   memory, and `twice` lists it twice, as in a container.

   Built with -DOLD_DRIVER it lacks the functions that came with CUDA 11; with -DINIT=CODE it never starts. */
#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef INIT
#define INIT 0
#endif

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };
enum { MAX_CARDS = 16, MAX_PROCESSES = 64, MAX_SEEN = 1024 };
#define NOT_AVAILABLE UINT64_MAX

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Entry;
typedef struct { Entry entry; u64 protected_used; } LongEntry;
typedef struct {
    unsigned gpu, memory; u64 max_memory, time, start; unsigned running, reserved[5];
} AccountingStats;

typedef struct { unsigned pid, shown; u64 used; int alive, listed, measured, times; } Process;
typedef struct {
    char uuid[96], parent[96], name[96];
    u64 total, base;
    int partitioned, accounting, persistent, exclusive, major, minor, fail_memory, fail_processes, fail_instances, fail_all, n_processes;
    Process processes[MAX_PROCESSES];
} Card;
typedef struct { char driver[64]; int cuda, long_entries, n_cards; Card cards[MAX_CARDS]; } State;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static State state;
static char handles[MAX_CARDS * 8][96];
static struct { unsigned pid; u64 peak; } seen[MAX_SEEN];
static int n_seen;

/* The parent of a process, and its group; -1 for a process that has ended. */
static int parent_of(int pid, int *group) {
    char path[64], status = 'X';
    int parent = -1;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    if (fscanf(file, "%*d (%*[^)]) %c %d %d", &status, &parent, group) != 3) status = 'X';
    fclose(file);
    return status == 'Z' || status == 'X' ? -1 : parent;
}

static int is_alive(unsigned pid) {
    int group;
    return parent_of((int)pid, &group) >= 0;
}

static u64 number_in(const char *path) {
    u64 value = 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%llu", &value) != 1) value = 0;
    fclose(file);
    return value;
}

static u64 resident(unsigned pid) {
    char path[64];
    u64 pages = 0;
    snprintf(path, sizeof path, "/proc/%u/statm", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%*s %llu", &pages) != 1) pages = 0;
    fclose(file);
    return pages * (u64)sysconf(_SC_PAGESIZE);
}

static u64 resident_peak(unsigned pid) {
    char path[64], line[256];
    u64 kib = 0;
    snprintf(path, sizeof path, "/proc/%u/status", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1) break;
    fclose(file);
    return kib * 1024;
}

/* What a process's allocator took, by TF_CPP_VMODULE=bfc_allocator=1 in its log, and what lies beside it. */
static u64 pool(unsigned pid, u64 base, u64 step) {
    char path[64], line[1024], unit;
    double total = 0, number;
    u64 times = 0;
    struct stat about;
    snprintf(path, sizeof path, "/proc/%u/fd/2", pid);
    if (stat(path, &about) || !S_ISREG(about.st_mode)) return base;
    FILE *file = fopen(path, "r");
    if (!file) return base;
    while (fgets(line, sizeof line, file)) {
        const char *found = strstr(line, "Total allocated bytes: ");
        if (!found || sscanf(found, "Total allocated bytes: %lf%c", &number, &unit) != 2) continue;
        total = number * (unit == 'G' ? 1 << 30 : unit == 'M' ? 1 << 20 : unit == 'K' ? 1 << 10 : 1);
        times++;
    }
    fclose(file);
    return (u64)total + base + step * times;
}

/* The driver remembers a process's peak after its end, so the stub does. */
static void remember(unsigned pid, u64 peak) {
    for (int i = 0; i < n_seen; i++)
        if (seen[i].pid == pid) {
            if (peak > seen[i].peak) seen[i].peak = peak;
            return;
        }
    if (n_seen < MAX_SEEN) seen[n_seen].pid = pid, seen[n_seen++].peak = peak;
}

static void read_process(Card *card, char *line) {
    char source[512] = "";
    int length = 0;
    Process *process = &card->processes[card->n_processes];
    if (card->n_processes == MAX_PROCESSES) return;
    if (sscanf(line, "process %u %511s%n", &process->pid, source, &length) != 2) return;
    const char *rest = line + length, *as = strstr(rest, " as ");
    process->alive = is_alive(process->pid);
    process->shown = as ? (unsigned)strtoul(as + 4, NULL, 10) : process->pid;
    process->listed = !strstr(rest, " unlisted");
    process->measured = !strstr(rest, " unmeasured");
    process->times = strstr(rest, " twice") ? 2 : 1;
    process->used = 0;
    if (process->alive) {
        int from_kernel = !strcmp(source, "rss");
        u64 base = 0, step = 0;
        process->used = from_kernel ? resident(process->pid)
                        : sscanf(source, "pool:%llu:%llu", &base, &step) == 2 ? pool(process->pid, base, step)
                        : !strncmp(source, "file:", 5) ? number_in(source + 5) : strtoull(source, NULL, 10);
        remember(process->shown, from_kernel ? resident_peak(process->pid) : process->used);
    }
    card->n_processes++;
}

static void read_descendants(Card *card, const char *directive) {
    char source[512] = "rss";
    sscanf(directive, "descendants %511[^\n]", source);
    DIR *all = opendir("/proc");
    for (struct dirent *one; all && (one = readdir(all));) {
        int pid = atoi(one->d_name), group, other, above = pid ? parent_of(pid, &group) : -1;
        char line[600];
        if (above < 0 || group == getpgrp()) continue;
        while (above > 0 && above != getpid()) above = parent_of(above, &other);
        if (above != getpid()) continue;
        snprintf(line, sizeof line, "process %d %s", pid, source);
        read_process(card, line);
    }
    if (all) closedir(all);
}

static void load(void) {
    char line[1024], word[64], what[64];
    const char *path = getenv("NVML_STUB_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    memset(&state, 0, sizeof state);
    if (!file) return;
    Card *card = state.cards;
    while (fgets(line, sizeof line, file)) {
        int code = 0;
        if (sscanf(line, "%63s", word) != 1) continue;
        if (!strcmp(word, "card") || !strcmp(word, "instance")) {
            if (state.n_cards == MAX_CARDS) break;
            card = &state.cards[state.n_cards++];
            if (!strcmp(word, "card")) sscanf(line, "card %95s %llu %95[^\n]", card->uuid, &card->total, card->name);
            else sscanf(line, "instance %95s %95s %llu %95[^\n]", card->uuid, card->parent, &card->total, card->name);
        } else if (!strcmp(word, "driver")) sscanf(line, "driver %63s", state.driver);
        else if (!strcmp(word, "cuda")) sscanf(line, "cuda %d", &state.cuda);
        else if (!strcmp(word, "persistent")) card->persistent = 1;
        else if (!strcmp(word, "exclusive")) card->exclusive = 1;
        else if (!strcmp(word, "capability")) sscanf(line, "capability %d %d", &card->major, &card->minor);
        else if (!strcmp(word, "long_entries")) state.long_entries = 1;
        else if (!strcmp(word, "partitioned")) card->partitioned = 1;
        else if (!strcmp(word, "accounting")) card->accounting = 1;
        else if (!strcmp(word, "base")) sscanf(line, "base %llu", &card->base);
        else if (!strcmp(word, "process")) read_process(card, line);
        else if (!strcmp(word, "descendants")) read_descendants(card, line);
        else if (!strcmp(word, "fails") && sscanf(line, "fails %63s %d", what, &code) == 2) {
            if (!strcmp(what, "memory")) card->fail_memory = code;
            else if (!strcmp(what, "processes")) card->fail_processes = code;
            else if (!strcmp(what, "instances")) card->fail_instances = code;
            else card->fail_all = code;
        }
    }
    fclose(file);
}

/* A handle is the address of its card's UUID, so that it stays valid when the state file changes. */
static void *handle_of(const char *uuid) {
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
        if (!*handles[i]) snprintf(handles[i], sizeof handles[i], "%s", uuid);
        if (!strcmp(handles[i], uuid)) return handles[i];
    }
    return NULL;
}

static Card *find(const char *uuid) {
    for (int i = 0; i < state.n_cards; i++)
        if (!strcmp(state.cards[i].uuid, uuid)) return &state.cards[i];
    return NULL;
}

/* Runs BODY with `card`, read afresh, under the lock; BODY sets `code`. */
#define WITH_CARD(handle, BODY)                                    \
    pthread_mutex_lock(&lock);                                     \
    load();                                                        \
    Card *card = find((const char *)(handle));                     \
    int code = !card ? GPU_IS_LOST : card->fail_all;               \
    if (!code) { BODY }                                            \
    pthread_mutex_unlock(&lock);                                   \
    return code;

#define WITH_STATE(BODY)                                           \
    pthread_mutex_lock(&lock);                                     \
    load();                                                        \
    int code = SUCCESS;                                            \
    { BODY }                                                       \
    pthread_mutex_unlock(&lock);                                   \
    return code;

int nvmlInitWithFlags(unsigned flags) { (void)flags; return INIT; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "stub error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) { WITH_STATE(snprintf(text, size, "%s", state.driver);) }

int nvmlDeviceGetCount_v2(unsigned *count) {
    WITH_STATE(*count = 0; for (int i = 0; i < state.n_cards; i++) *count += !*state.cards[i].parent;)
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    WITH_STATE(
        code = INVALID_ARGUMENT;
        for (int i = 0; i < state.n_cards; i++)
            if (!*state.cards[i].parent && !index--) {
                code = state.cards[i].fail_all;
                *handle = handle_of(state.cards[i].uuid);
                break;
            })
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    WITH_STATE(
        Card *card = find(uuid);
        code = card ? card->fail_all : NOT_FOUND;
        if (!code) *handle = handle_of(uuid);)
}

int nvmlDeviceGetUUID(void *h, char *text, unsigned size) { WITH_CARD(h, snprintf(text, size, "%s", card->uuid);) }
int nvmlDeviceGetName(void *h, char *text, unsigned size) { WITH_CARD(h, snprintf(text, size, "%s", card->name);) }

int nvmlDeviceGetMemoryInfo(void *h, Memory *memory) {
    WITH_CARD(h,
        code = card->fail_memory;
        memory->total = card->total;
        memory->used = card->base;
        for (int i = 0; i < card->n_processes; i++) memory->used += card->processes[i].used;
        memory->free = memory->total - memory->used;)
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    WITH_STATE(*version = state.cuda; if (!state.cuda) code = NOT_SUPPORTED;)
}

int nvmlDeviceGetComputeMode(void *h, unsigned *mode) { WITH_CARD(h, *mode = card->exclusive ? 3 : 0;) }
int nvmlDeviceGetPersistenceMode(void *h, unsigned *mode) { WITH_CARD(h, *mode = (unsigned)card->persistent;) }

int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) {
    WITH_CARD(h, *major = card->major; *minor = card->minor; if (!card->major) code = NOT_SUPPORTED;)
}

int nvmlDeviceGetAccountingMode(void *h, unsigned *mode) { WITH_CARD(h, *mode = (unsigned)card->accounting;) }

int nvmlDeviceGetAccountingStats(void *h, unsigned pid, AccountingStats *stats) {
    WITH_CARD(h,
        code = card->accounting ? NOT_FOUND : NOT_SUPPORTED;
        if (card->accounting)
            for (int i = 0; i < n_seen; i++)
                if (seen[i].pid == pid) {
                    memset(stats, 0, sizeof *stats);
                    stats->max_memory = seen[i].peak;
                    code = SUCCESS;
                })
}

#ifndef OLD_DRIVER
static int list_processes(Card *card, unsigned *count, char *entries, int long_entries) {
    unsigned n = 0, room = entries ? *count : 0;
    size_t stride = long_entries ? sizeof(LongEntry) : sizeof(Entry);
    for (int i = 0; i < card->n_processes; i++) {
        Process *process = &card->processes[i];
        if (!process->alive || !process->listed) continue;
        for (int k = 0; k < process->times; k++, n++)
            if (n < room) {
                LongEntry one = {{process->shown, process->measured ? process->used : NOT_AVAILABLE, ~0u, ~0u}, 0};
                memcpy(entries + n * stride, &one, stride);
            }
    }
    *count = n;
    return n > room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *h, unsigned *count, char *entries) {
    WITH_CARD(h, code = card->fail_processes; if (!code) code = list_processes(card, count, entries, 0);)
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *count, char *entries) {
    WITH_CARD(h,
        code = card->fail_processes;
        if (!code) code = list_processes(card, count, entries, state.long_entries);)
}

int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) {
    WITH_CARD(h, *current = *pending = 1; if (!card->partitioned) code = NOT_SUPPORTED;)
}

int nvmlDeviceGetMaxMigDeviceCount(void *h, unsigned *count) { WITH_CARD(h, *count = 7;) }

int nvmlDeviceGetMigDeviceHandleByIndex(void *h, unsigned index, void **handle) {
    WITH_CARD(h,
        code = card->fail_instances ? card->fail_instances : NOT_FOUND;
        if (!card->fail_instances)
            for (int i = 0; i < state.n_cards; i++)
                if (!strcmp(state.cards[i].parent, card->uuid) && !index--) {
                    *handle = handle_of(state.cards[i].uuid);
                    code = SUCCESS;
                    break;
                })
}
#endif
