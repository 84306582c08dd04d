/*
 * Writing the image in steps, and believing one only after every check.
 */
#include "engine/snapshot.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "file/io.h"
#include "log/logset.h"

#include <assert.h>
#include <stdlib.h>

/* The fields before the parts of the index, in the order of the file. */
enum header {
    HEADER_MAGIC,
    HEADER_LOG_ID,
    HEADER_GENERATION,
    HEADER_COVERED,
    HEADER_CHAIN,
    HEADER_SEED,
    HEADER_FIELDS = HEADER_SEED + 2
};

/* Behind them come two more: the needed length and the CRC. */
enum {
    FIELD_BYTES = 8,
    HEADER_BYTES = HEADER_FIELDS * FIELD_BYTES,
    TRAILER_BYTES = 2 * FIELD_BYTES
};

static_assert(TRAILER_BYTES <= HEADER_BYTES, "the trailer has the room of the header");

enum { PART_HEADER_BYTES = 8, ENTRY_BYTES = 20 };

struct snapshot_writer {
    const struct files *files;
    const struct keydir *keydir;
    uint64_t covered; /* the end of the log when it was begun */
    int fd;
    size_t next_part;
    struct buffer parts;    /* taken whole from the index */
    size_t parts_written;   /* of them */
    uint64_t length;        /* written so far */
    uint64_t synced_length; /* of that */
    uint32_t crc;           /* of what was written */
};

static enum status write_bytes(struct snapshot_writer *writer, struct slice bytes)
{
    enum status status = io_write_at(writer->fd, bytes, writer->length);
    if (status != KV_OK) {
        diag_warn("%s" FILES_NEW
                  ": cannot write the index; the next start reads more of the log",
                  files_path(writer->files));
        return status;
    }
    writer->crc = crc32c(writer->crc, bytes);
    writer->length += bytes.length;
    return KV_OK;
}

static enum status write_header(struct snapshot_writer *writer)
{
    uint8_t bytes[HEADER_BYTES];
    const struct keydir *keydir = writer->keydir;
    const struct log_end *end = log_end(keydir_log(keydir));
    const uint64_t fields[HEADER_FIELDS] = {
        [HEADER_MAGIC] = FILES_INDEX_MAGIC,
        [HEADER_LOG_ID] = end->log_id,
        [HEADER_GENERATION] = end->generation,
        [HEADER_COVERED] = end->offset,
        [HEADER_CHAIN] = end->chain,
        [HEADER_SEED] = keydir->seed.words[0],
        [HEADER_SEED + 1] = keydir->seed.words[1],
    };
    for (size_t i = 0; i < HEADER_FIELDS; i++) {
        bytes_put_u64(bytes + i * FIELD_BYTES, fields[i]);
    }
    return write_bytes(writer, (struct slice){bytes, sizeof bytes});
}

/* Everything of the log that an entry may point at is durable. */
static enum status write_trailer(struct snapshot_writer *writer)
{
    uint8_t bytes[TRAILER_BYTES];
    struct slice needed = {bytes, FIELD_BYTES};
    bytes_put_u64(bytes, log_length(keydir_log(writer->keydir)));
    bytes_put_u64(bytes + FIELD_BYTES, crc32c(writer->crc, needed));
    return write_bytes(writer, (struct slice){bytes, sizeof bytes});
}

static void release(struct snapshot_writer *writer)
{
    buffer_free(&writer->parts);
    free(writer);
}

static enum status tell_no_memory(const struct files *files)
{
    diag_warnx("%s" FILES_INDEX
               ": not enough memory to write it; the next start reads more of the log",
               files_path(files));
    return KV_NO_MEMORY;
}

static enum status sync_image(struct snapshot_writer *writer)
{
    enum status status = io_sync(writer->fd);
    if (status != KV_OK) {
        diag_warn("%s" FILES_NEW
                  ": cannot sync the index; the next start reads more of the log",
                  files_path(writer->files));
    }
    writer->synced_length = writer->length;
    return status;
}

static bool is_image(struct slice bytes)
{
    return bytes.length >= FIELD_BYTES && bytes_get_u64(bytes.bytes) == FILES_INDEX_MAGIC;
}

/* Whether what stands at PATH.index is an image, whatever it is worth, or nothing. */
static bool may_be_replaced(const struct files *files, bool *is_there_out)
{
    struct files_view view;
    enum status status = files_view(files, FILES_INDEX, &view);
    *is_there_out = status != KV_NOT_FOUND;
    if (status != KV_OK) {
        return status == KV_NOT_FOUND; /* anything else was reported */
    }
    bool may_go = view.bytes.length == 0 || is_image(view.bytes);
    files_release(&view);
    if (!may_go) {
        diag_warnx("%s" FILES_INDEX ": is no image of an index, so it is somebody's; it "
                   "is left there, and none is saved",
                   files_path(files));
    }
    return may_go;
}

enum status snapshot_begin(const struct files *files, const struct keydir *keydir,
                           struct snapshot_writer **writer_out)
{
    bool is_there = false;
    assert(keydir_older_log(keydir) == NULL);
    if (!may_be_replaced(files, &is_there)) {
        return KV_IO;
    }
    struct snapshot_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return tell_no_memory(files);
    }
    writer->files = files;
    writer->keydir = keydir;
    writer->covered = log_length(keydir_log(keydir));
    enum status status = files_begin_new(files, &writer->fd);
    if (status != KV_OK) {
        free(writer);
        return status;
    }
    status = write_header(writer);
    if (status == KV_OK) {
        status = sync_image(writer); /* what a crash leaves begins as an image does */
    }
    if (status != KV_OK) {
        files_drop(files, FILES_NEW);
        (void)io_close(writer->fd); /* given up */
        release(writer);
        return status;
    }
    *writer_out = writer;
    return KV_OK;
}

static void encode_entry(uint8_t out[ENTRY_BYTES], const struct index_entry *entry)
{
    const struct location *location = &entry->location;
    bytes_put_u64(out, (uint64_t)entry->hash << 32 | location->crc);
    bytes_put_u64(out + 8, (uint64_t)location->key_length << 48 | location->offset);
    bytes_put_u32(out + 16, location->value_length);
}

/* side: of the log that the image is of. */
static struct index_entry decode_entry(const uint8_t in[ENTRY_BYTES], uint8_t side)
{
    uint64_t hash_crc = bytes_get_u64(in);
    uint64_t key_offset = bytes_get_u64(in + 8);
    return (struct index_entry){
        .hash = (uint32_t)(hash_crc >> 32),
        .location =
            {
                .offset = key_offset & (LOG_BYTES_MAX - 1),
                .key_length = (uint32_t)(key_offset >> 48),
                .value_length = bytes_get_u32(in + 16),
                .crc = (uint32_t)hash_crc,
                .side = side,
            },
    };
}

/* KV_NO_MEMORY: nothing was appended. */
static enum status encode_part(const struct index *index, size_t part, struct buffer *out)
{
    size_t count = index_part_count(index, part);
    size_t length = PART_HEADER_BYTES + count * ENTRY_BYTES;
    enum status status = buffer_reserve(out, length);
    if (status != KV_OK) {
        return status;
    }
    struct index_entry entry;
    size_t slot = 0;
    uint8_t *at = out->bytes + out->length;
    bytes_put_u64(at, count);
    for (at += PART_HEADER_BYTES; index_next_entry(index, part, &slot, &entry);
         at += ENTRY_BYTES) {
        assert(!entry.location.is_tombstone);
        encode_entry(at, &entry);
    }
    out->length += length;
    return KV_OK;
}

/* Take parts of the index, each as it is now, until there are so many bytes. */
static enum status take_parts(struct snapshot_writer *writer, uint64_t bytes)
{
    enum status status = KV_OK;
    writer->parts.length = 0;
    writer->parts_written = 0;
    while (status == KV_OK && writer->next_part < INDEX_PART_COUNT &&
           writer->parts.length < bytes) {
        status = encode_part(writer->keydir->index, writer->next_part, &writer->parts);
        writer->next_part++;
    }
    return status == KV_OK ? KV_OK : tell_no_memory(writer->files);
}

/* Let the disk begin with what was written, and wait for it before that is much. */
static enum status sync_piece(struct snapshot_writer *writer, uint64_t from,
                              uint64_t sync_bytes)
{
    if (writer->length - writer->synced_length >= sync_bytes) {
        return sync_image(writer);
    }
    io_begin_sync(writer->fd, from, writer->length - from);
    return KV_OK;
}

enum status snapshot_step(struct snapshot_writer *writer, uint64_t bytes,
                          uint64_t sync_bytes)
{
    uint64_t from = writer->length;
    if (writer->parts_written == writer->parts.length) {
        if (writer->next_part == INDEX_PART_COUNT) {
            return KV_NOT_FOUND;
        }
        enum status status = take_parts(writer, bytes);
        if (status != KV_OK) {
            return status;
        }
    }
    struct slice left = slice_after(buffer_slice(&writer->parts), writer->parts_written);
    struct slice piece =
        left.length < 2 * bytes ? left : slice_first(left, (size_t)bytes);
    enum status status = write_bytes(writer, piece);
    writer->parts_written += piece.length;
    return status == KV_OK && sync_bytes > 0 ? sync_piece(writer, from, sync_bytes)
                                             : status;
}

uint64_t snapshot_covered(const struct snapshot_writer *writer)
{
    return writer->covered;
}

uint64_t snapshot_length(const struct snapshot_writer *writer)
{
    return writer->length;
}

uint64_t snapshot_length_of(const struct keydir *keydir)
{
    return HEADER_BYTES + INDEX_PART_COUNT * PART_HEADER_BYTES +
           keydir->key_count * ENTRY_BYTES + TRAILER_BYTES;
}

/* What is there is replaced, if it may be. */
static enum status place_image(const struct files *files, struct waste *waste)
{
    bool is_there = false;
    if (!may_be_replaced(files, &is_there)) {
        return KV_IO;
    }
    if (is_there) {
        files_hold(files, FILES_INDEX, waste);
    }
    return files_place_new(files, FILES_INDEX);
}

enum status snapshot_finish(struct snapshot_writer *writer, struct waste *waste)
{
    enum status status = write_trailer(writer);
    if (status == KV_OK) {
        status = files_sync_new(writer->files, writer->fd);
    }
    if (status == KV_OK) {
        status = place_image(writer->files, waste);
    }
    if (status != KV_OK && status != KV_FATAL) {
        snapshot_abort(writer, waste);
        return status;
    }
    (void)io_close(writer->fd); /* synced */
    release(writer);
    return status;
}

void snapshot_abort(struct snapshot_writer *writer, struct waste *waste)
{
    files_drop(writer->files, FILES_NEW);
    waste_take(waste, writer->fd);
    release(writer);
}

static enum status disbelieve(const struct files *files, const char *reason)
{
    diag_warnx("%s" FILES_INDEX ": %s; reading the whole log", files_path(files), reason);
    return KV_NOT_FOUND;
}

/* An image whose own CRC is right, taken apart. */
struct image {
    const struct mapping *mapping;
    uint64_t header[HEADER_FIELDS];
    struct slice parts;
    uint64_t needed_length;
};

/* Take the bytes of PATH.index apart; KV_NOT_FOUND: not to be believed (reported). */
static enum status open_image(const struct files *files, struct slice bytes,
                              const struct opening *opening, struct image *image)
{
    if (bytes.length >= FIELD_BYTES && !is_image(bytes)) {
        return disbelieve(files, "is no image of an index");
    }
    if (bytes.length < HEADER_BYTES + TRAILER_BYTES) {
        return disbelieve(files, "is damaged");
    }
    struct slice before_crc = slice_first(bytes, bytes.length - FIELD_BYTES);
    const uint8_t *trailer = bytes.bytes + bytes.length - TRAILER_BYTES;
    for (size_t i = 0; i < HEADER_FIELDS; i++) {
        image->header[i] = bytes_get_u64(bytes.bytes + i * FIELD_BYTES);
    }
    image->needed_length = bytes_get_u64(trailer);
    image->parts =
        slice_after(slice_first(bytes, bytes.length - TRAILER_BYTES), HEADER_BYTES);
    if (crc32c(0, before_crc) != bytes_get_u64(trailer + FIELD_BYTES)) {
        return disbelieve(files, "is damaged");
    }
    if (image->header[HEADER_LOG_ID] != opening->log_id ||
        image->header[HEADER_GENERATION] != opening->generation) {
        return disbelieve(files, "is of another log");
    }
    return KV_OK;
}

/* What the entries of an image add up to. */
struct sums {
    uint64_t entry_count;
    uint64_t payload_bytes;   /* keys and values, without headers */
    uint64_t payload_end_max; /* the largest offset with key and value lengths added */
};

/* KV_CORRUPT: no part has these entries. */
static enum status load_entries(struct keydir *keydir, size_t part, struct slice entries,
                                struct sums *sums)
{
    size_t next = 0;
    uint32_t hash_before = 0;
    enum status status =
        index_begin_part(keydir->index, part, entries.length / ENTRY_BYTES);
    for (size_t at = 0; status == KV_OK && at < entries.length; at += ENTRY_BYTES) {
        struct index_entry entry = decode_entry(entries.bytes + at, keydir->current);
        const struct location *location = &entry.location;
        if (entry.hash > INDEX_ENTRY_HASH_MAX || entry.hash < hash_before ||
            location_is_nowhere(location)) {
            return KV_CORRUPT;
        }
        uint64_t payload = (uint64_t)location->key_length + location->value_length;
        uint64_t end = location->offset + payload;
        sums->payload_bytes += payload;
        sums->payload_end_max = end > sums->payload_end_max ? end : sums->payload_end_max;
        hash_before = entry.hash;
        status = index_append(keydir->index, part, &next, &entry);
    }
    sums->entry_count += entries.length / ENTRY_BYTES;
    return status;
}

/* bytes: moved on behind the part. Errors as above. */
static enum status load_part(struct keydir *keydir, size_t part, struct slice *bytes,
                             struct sums *sums)
{
    if (bytes->length < PART_HEADER_BYTES) {
        return KV_CORRUPT;
    }
    uint64_t count = bytes_get_u64(bytes->bytes);
    struct slice rest = slice_after(*bytes, PART_HEADER_BYTES);
    if (count > rest.length / ENTRY_BYTES) {
        return KV_CORRUPT;
    }
    struct slice entries = slice_first(rest, (size_t)count * ENTRY_BYTES);
    *bytes = slice_after(rest, entries.length);
    return count == 0 ? KV_OK : load_entries(keydir, part, entries, sums);
}

static enum status load_parts(const struct image *image, struct keydir *keydir)
{
    struct slice rest = image->parts;
    struct sums sums = {0};
    keydir->seed =
        (struct hash_seed){{image->header[HEADER_SEED], image->header[HEADER_SEED + 1]}};
    for (size_t part = 0; part < INDEX_PART_COUNT; part++) {
        enum status status = load_part(keydir, part, &rest, &sums);
        if (status != KV_OK) {
            return status;
        }
    }
    keydir->key_count = sums.entry_count;
    keydir->entry_count[keydir->current] = sums.entry_count;
    keydir->live_bytes = sums.payload_bytes + sums.entry_count * RECORD_HEADER_BYTES;
    bool is_within_log =
        sums.payload_end_max + RECORD_HEADER_BYTES <= image->needed_length;
    return rest.length == 0 && is_within_log ? KV_OK : KV_CORRUPT;
}

/* The image is right and of this log: take it, if it also fits the log as it is. */
static enum status believe(const struct files *files, const struct image *image,
                           struct keydir *keydir, struct scan *scan)
{
    enum status status = logset_prove_length(files, scan, image->needed_length);
    if (status != KV_OK) {
        return status;
    }
    struct scan covered = *scan;
    if (!scan_go_to(&covered, image->header[HEADER_COVERED],
                    image->header[HEADER_CHAIN])) {
        return disbelieve(files, "does not match the log");
    }
    status = load_parts(image, keydir);
    if (status != KV_NO_MEMORY && mapping_lost_end(image->mapping) > 0) {
        return disbelieve(files, "cannot be read any more"); /* behind its check */
    }
    if (status == KV_OK) {
        *scan = covered;
    }
    return status == KV_CORRUPT ? disbelieve(files, "is damaged") : status;
}

enum status snapshot_load(const struct files *files, const struct opening *opening,
                          struct keydir *keydir, struct scan *scan)
{
    struct files_view view;
    if (files_view(files, FILES_INDEX, &view) != KV_OK) {
        return KV_NOT_FOUND; /* anything but a missing file was reported */
    }
    struct image image = {.mapping = view.mapping};
    enum status status = open_image(files, view.bytes, opening, &image);
    if (status == KV_OK) {
        status = believe(files, &image, keydir, scan);
    }
    if (status == KV_OK) {
        scan->drained_id = opening->older_id; /* no older log was left */
    }
    files_release(&view);
    return status;
}

uint64_t snapshot_needed_length(const struct files *files, const struct opening *opening)
{
    struct image image = {0};
    struct files_view view;
    if (files_view(files, FILES_INDEX, &view) != KV_OK) {
        return 0;
    }
    bool is_right = open_image(files, view.bytes, opening, &image) == KV_OK;
    files_release(&view);
    return is_right ? image.needed_length : 0;
}

void snapshot_remove(const struct files *files, struct waste *waste)
{
    bool is_there = false;
    if (may_be_replaced(files, &is_there) && is_there) {
        files_hold(files, FILES_INDEX, waste);
        files_drop(files, FILES_INDEX);
    }
}
