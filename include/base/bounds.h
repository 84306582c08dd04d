/*
 * Every limit on a size, a count or a wait, with its unit and its reason.
 */
#ifndef KV_BOUNDS_H
#define KV_BOUNDS_H

#include <assert.h>
#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A disk writes sectors of at least this size whole. */
#define SECTOR_BYTES 512

/* Keys and values. An index slot holds a key length in 16 bits, a value length in 32. */
#define KEY_BYTES_MAX           UINT64_C(65535)
#define VALUE_BYTES_MAX         UINT64_C(4294967295)
#define VALUE_BYTES_MAX_DEFAULT (64 * MIB)

/* An index slot holds an offset in 48 bits, a seal writes one in 12 hex digits. */
#define LOG_BYTES_MAX (UINT64_C(1) << 48)

/* Past this a batch is committed before more lines are executed. */
#define BATCH_BYTES_MAX (4 * MIB)

/*
 * Before a batch smaller than this is committed, what has arrived meanwhile is added to
 * it: a sync costs the same for both. Past it the sync is no longer what costs most.
 */
#define GATHER_BYTES_MAX MIB

/* ... so often at most: a client that always has a few bytes more holds nothing up. */
#define GATHER_RECEIVES_MAX 64

/* Lines are taken in groups of at most so many, whose keys are looked up together. */
#define GROUP_LINES_MAX 64

/* One write call moves at most this; Linux itself stops just below 2 GiB. */
#define WRITE_BYTES_MAX GIB

/* Replies held for a client that does not read; past it nothing more is executed. */
#define BACKLOG_BYTES_MAX (64 * MIB)

/* Values from this size on go from the log to the socket without a copy. */
#define STREAM_VALUE_BYTES_MIN (128 * KIB)

/* Values from this size on are asked of the disk at once, and not page by page. */
#define READ_AHEAD_BYTES_MIN (64 * KIB)

/*
 * Of a walk through all keys, at most so many are looked at, and for so long, before it
 * is seen to syncs, signals and deadlines; a key may have to come from a disk first.
 */
#define KEYS_SLICE_COUNT  4096
#define KEYS_SLICE_US_MAX UINT64_C(2000)

/* Every reply but a value and the many-line ones fits in this. */
#define REPLY_LINE_BYTES_MAX UINT64_C(256)

/* What the buffers of a connection keep between large requests. */
#define RECEIVE_BYTES_KEPT (256 * KIB)
#define REPLIES_BYTES_KEPT (256 * KIB)

/* A client that sends, or takes, so many bytes in a millisecond uses its turn. */
#define PROGRESS_BYTES_A_MS (64 * KIB / 1000)

/* How long an idle client may keep others waiting, unless the options say. */
#define CLIENT_IDLE_S_DEFAULT UINT64_C(10)
#define CLIENT_IDLE_S_MAX     UINT64_C(1000000)

/* After the last reply, what is still read and thrown away before closing. */
#define LINGER_MS_MAX    UINT64_C(1000)
#define LINGER_BYTES_MAX (64 * KIB)

/* A stop waits this long for a client to take the replies of its last batch, and to
 * close. */
#define STOP_DRAIN_MS_MAX  UINT64_C(500)
#define STOP_LINGER_MS_MAX UINT64_C(100)

/* Who has come so shortly before a stop is waited for, to say what it came for. */
#define STOP_GRACE_MS UINT64_C(100)

/* Out of descriptors: how long to wait before accepting again, and to tell again. */
#define ACCEPT_PAUSE_MS   UINT64_C(100)
#define ACCEPT_MESSAGE_MS UINT64_C(60000)

/* Clients that may wait to be accepted; the kernel takes its own maximum if smaller. */
#define WAITING_CLIENTS_MAX 4096

/*
 * Clients that are accepted and have not had their turn; fewer where a process may have
 * few descriptors, of which so many are left to the store.
 */
#define LOBBY_CLIENTS_MAX 1000
#define DESCRIPTORS_KEPT  32

/* Addresses to listen on. */
#define LISTENERS_MAX 16

/* Who has come and who has sent something is seen so often, between turns and in one. */
#define LOBBY_LOOK_MS      UINT64_C(1)
#define LOBBY_LOOK_TURN_MS UINT64_C(1000)

/* Of clients that are sent away the operator is told so often at most. */
#define CLIENTS_MESSAGE_MS UINT64_C(1000)

/*
 * After a reply the next command is looked for awake for this long, or not at all for so
 * many replies when that was in vain again and again.
 */
#define SPIN_US_MAX       UINT64_C(60)
#define SPINS_SKIPPED_MAX 255

/* --sync everysec: how far durability may lag behind an answer. */
#define SYNC_LAG_MS_MAX UINT64_C(1000)

/* After this long without a write the last batch gets its second seal. */
#define SECOND_SEAL_MS UINT64_C(1000)

/*
 * Space ahead of the log: for what was committed in this second and the one before,
 * within these bounds. A batch that has to share what is left is appended, so there are
 * two pieces at least.
 */
#define AHEAD_WINDOW_MS UINT64_C(1000)
#define AHEAD_BYTES_MAX (4 * MIB)

/*
 * It is made in pieces, which grow while each takes no longer than an appended commit and
 * this, and shrink when it takes longer than that by twice this. All are multiples of the
 * header of a record.
 */
#define AHEAD_PIECE_BYTES_MIN (64 * KIB)
#define AHEAD_PIECE_BYTES_MAX MIB
#define AHEAD_PIECE_US        UINT64_C(2500)

/* Where an appended commit takes less there is nothing to be gained, and no trial. */
#define AHEAD_APPENDED_US_MIN UINT64_C(20)

/* A commit must gain so much by it, and such a part of what it took. */
#define AHEAD_GAIN_US_MIN   UINT64_C(5)
#define AHEAD_GAIN_PART_MIN 16

/*
 * So much is made at most to find out whether it pays. If it does not, there is another
 * trial after this long, twice as long each time; if it does, after the longest.
 */
#define AHEAD_TRIAL_BYTES_MAX (8 * MIB)
#define AHEAD_TRIAL_MS_MIN    UINT64_C(1000)
#define AHEAD_TRIAL_MS_MAX    UINT64_C(64000)

/* After a failure to make any it is tried again. */
#define AHEAD_RETRY_MS UINT64_C(60000)

/*
 * Who follows the log looks so often whether there is more, judges what is no batch after
 * so many looks in vain, and waits for files that do not fit together for so many.
 */
#define FOLLOW_LOOK_MS     UINT64_C(50)
#define FOLLOW_JUDGE_LOOKS 40
#define FOLLOW_OPEN_LOOKS  20

/* From the beginning of a compaction on the older log is kept for so long at least: who
 * follows it sees that there is a newer one, and reads it to its end. */
#define COMPACT_KEEP_MS UINT64_C(250)

/* Of a log that is dumped, so much is asked of the disk ahead. */
#define DUMP_AHEAD_BYTES (8 * MIB)

/* What is printed in lines goes out when there is so much of it. */
#define LINES_BYTES_MAX (256 * KIB)

/* A log with fewer dead bytes is not worth compacting by itself, while there is room. */
#define COMPACT_DEAD_BYTES_MIN (8 * MIB)

/*
 * What a compaction asks for besides the records and marks that it writes: files take
 * whole blocks, and a file system needs some for itself.
 */
#define COMPACT_SPARE_BYTES (64 * KIB)

/*
 * Where a compaction will soon not fit the disk any more, it begins while it does, if it
 * gives back at least this part of what it writes.
 */
#define COMPACT_LAST_CHANCE_PART 8

/*
 * When less than this is left on the disk, values are refused, so that deletions and the
 * start of a compaction find room; and of that, what deletions leave to the compaction.
 */
#define ROOM_KEPT_BYTES             MIB
#define ROOM_KEPT_FOR_COMPACT_BYTES (2 * COMPACT_SPARE_BYTES)

/* Where the disk is smaller than this, or files must be, less is kept in proportion. */
#define ROOM_KEPT_CAPACITY_BYTES (16 * ROOM_KEPT_BYTES)

/* Others fill the disk too: while values are written it is looked at again so often. */
#define ROOM_LOOK_MS UINT64_C(1000)

/*
 * A log that is shorter is read in no time: while commands are waiting, its index is not
 * saved after a compaction.
 */
#define SNAPSHOT_LOG_BYTES_MIN (8 * MIB)

/*
 * While it is served, the index is saved again when the log has grown by so much, and by
 * so many times what the image takes: saving costs a quarter of what is written anyway.
 */
#define IMAGE_GROWTH_BYTES_MIN (64 * MIB)
#define IMAGE_GROWTH_FACTOR    4

/*
 * It is written in pieces, as large as what commands wrote since the last but within
 * these bounds, and synced whenever it has grown by the larger.
 */
#define IMAGE_PIECE_BYTES_MIN (64 * KIB)
#define IMAGE_PIECE_BYTES_MAX MIB

/*
 * A file that lost its name, and a drained log, are cut away in steps, since freeing much
 * at once stalls: ext4 was seen to take 1.5 ms, and as much again for each MiB.
 */
#define CUT_STEP_BYTES MIB

/* So many times what is left of it must find room: commands write as much meanwhile. */
#define IMAGE_ROOM_FACTOR 2

/* One slice of a compaction looks at, and copies, about this much. */
#define COMPACT_SLICE_BYTES   (256 * KIB)
#define COMPACT_SLICE_ENTRIES 8192

/* While commands keep coming, a slice is followed by this many times its duration. */
#define COMPACT_PAUSE_FACTOR UINT64_C(2)

/* A client that has sent no command for this long leaves all the time to compaction. */
#define LEISURE_AFTER_MS UINT64_C(2)

/* After a failure for lack of room, a compaction is tried again. */
#define COMPACT_RETRY_MS UINT64_C(1000)

/* How often the operator is told at most that writes to the log fail. */
#define LOG_MESSAGE_MS UINT64_C(60000)

/* How long the service manager may keep a word to it waiting. */
#define NOTIFY_WAIT_S_MAX 1

/*
 * Work that takes longer tells its progress: on a terminal after the first time, in a
 * line rewritten after each second one; elsewhere after each third.
 */
#define PROGRESS_SHORT_MS   UINT64_C(1000)
#define PROGRESS_SHOW_MS    UINT64_C(200)
#define PROGRESS_MESSAGE_MS UINT64_C(3000)

/* So much work is done between looks at the clock. */
#define PROGRESS_STEP_BYTES (64 * KIB)

/*
 * Places of a file that cannot be read and have zeros in their stead. Each makes two
 * mappings more, of which Linux lets a process have 65,530.
 */
#define MAPPING_HOLES_MAX 4096

/* What could not be read is read again after this long, twice as long after each failure.
 */
#define READ_RETRY_MS_MIN UINT64_C(1000)
#define READ_RETRY_MS_MAX UINT64_C(60000)

/* One line of the operator's diagnostics, cut beyond it. */
#define DIAG_LINE_BYTES_MAX 1024

/* Lines that wait until it is known whether they are to be told. */
#define DIAG_HELD_MAX 4

/* A line that is rewritten must not wrap; few terminals are narrower. */
#define DIAG_COLUMNS_MAX 79

static_assert(KEY_BYTES_MAX == UINT16_MAX, "an index slot holds 16 bits of key length");
static_assert(VALUE_BYTES_MAX == UINT32_MAX,
              "an index slot holds 32 bits of value length");
static_assert(KEY_BYTES_MAX < RECEIVE_BYTES_KEPT,
              "a line without a value needs no growth");
static_assert(4 * FOLLOW_LOOK_MS < COMPACT_KEEP_MS,
              "who follows a log has several looks at each");
static_assert(STREAM_VALUE_BYTES_MIN < BACKLOG_BYTES_MAX,
              "a copied value fits the backlog");

#endif
