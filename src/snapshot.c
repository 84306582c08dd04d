/*
 * Writing the image in steps, and believing one only after every check.
 */
#include "snapshot.h"

#include "bytes.h"
#include "crc32c.h"
#include "diag.h"
#include "io.h"
#include "mapping.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define MAGIC UINT64_C(0x6b76696e64657831)

enum { HEADER_FIELDS = 7, TRAILER_FIELDS = 2, FIELD_BYTES = 8 };
enum {
    HEADER_BYTES = HEADER_FIELDS * FIELD_BYTES,
    TRAILER_BYTES = TRAILER_FIELDS * FIELD_BYTES
};

/* Parts are written together until they make a piece of this size. */
#define PIECE_BYTES_MIN (64 * KIB)

struct snapshot_writer {
    const struct files *files;
    const struct keydir *keydir;
    int fd;
    size_t next_part;
    uint64_t length; /* written so far */
    uint32_t crc;    /* of what was written */
    struct buffer piece;
};

static enum status tell_no_memory(const struct files *files)
{
    diag_warnx("%s" FILES_INDEX
               ": not enough memory to write it; the next start reads the whole log",
               files_path(files));
    return KV_NO_MEMORY;
}

static void put_field(struct buffer *piece, uint64_t number)
{
    uint8_t bytes[FIELD_BYTES];
    bytes_put_u64(bytes, number);
    buffer_append(piece, (struct slice){bytes, sizeof bytes});
}

/* Append the piece to the file and empty it. */
static enum status write_piece(struct snapshot_writer *writer)
{
    struct slice bytes = buffer_slice(&writer->piece);
    enum status status = io_write_at(writer->fd, bytes, writer->length);
    if (status != KV_OK) {
        diag_warn("%s" FILES_NEW
                  ": cannot write the index; the next start reads the whole log",
                  files_path(writer->files));
        return status;
    }
    writer->crc = crc32c(writer->crc, bytes);
    writer->length += bytes.length;
    writer->piece.length = 0;
    return KV_OK;
}

static enum status write_header(struct snapshot_writer *writer)
{
    const struct log_end *end = log_end(keydir_log(writer->keydir));
    const uint64_t fields[HEADER_FIELDS] = {
        MAGIC,
        end->log_id,
        end->generation,
        end->offset,
        end->chain,
        writer->keydir->seed.words[0],
        writer->keydir->seed.words[1],
    };
    enum status status = buffer_reserve(&writer->piece, HEADER_BYTES);
    if (status != KV_OK) {
        return status;
    }
    for (size_t i = 0; i < HEADER_FIELDS; i++) {
        put_field(&writer->piece, fields[i]);
    }
    return write_piece(writer);
}

enum status snapshot_begin(const struct files *files, const struct keydir *keydir,
                           struct snapshot_writer **writer_out)
{
    assert(keydir_older_log(keydir) == NULL);
    struct snapshot_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return tell_no_memory(files);
    }
    *writer = (struct snapshot_writer){.files = files, .keydir = keydir, .fd = -1};
    enum status status = files_begin_new(files, &writer->fd);
    if (status != KV_OK) {
        free(writer);
        return status;
    }
    status = write_header(writer);
    if (status != KV_OK) {
        snapshot_abort(writer);
        return status;
    }
    *writer_out = writer;
    return KV_OK;
}

enum status snapshot_step(struct snapshot_writer *writer, bool is_synced)
{
    if (writer->next_part == INDEX_PART_COUNT) {
        return KV_NOT_FOUND;
    }
    enum status status = KV_OK;
    while (status == KV_OK && writer->next_part < INDEX_PART_COUNT &&
           writer->piece.length < PIECE_BYTES_MIN) {
        status =
            index_encode_part(writer->keydir->index, writer->next_part, &writer->piece);
        writer->next_part++;
    }
    if (status == KV_NO_MEMORY) {
        return tell_no_memory(writer->files);
    }
    status = write_piece(writer);
    if (status == KV_OK && is_synced) {
        status = io_sync(writer->fd);
        if (status != KV_OK) {
            diag_warn("%s" FILES_NEW
                      ": cannot sync the index; the next start reads the whole log",
                      files_path(writer->files));
        }
    }
    return status;
}

static void release(struct snapshot_writer *writer)
{
    (void)io_close(writer->fd); /* synced, or given up */
    buffer_free(&writer->piece);
    free(writer);
}

enum status snapshot_finish(struct snapshot_writer *writer)
{
    enum status status = buffer_reserve(&writer->piece, TRAILER_BYTES);
    if (status == KV_OK) {
        put_field(&writer->piece, log_length(keydir_log(writer->keydir)));
        put_field(&writer->piece, crc32c(writer->crc, buffer_slice(&writer->piece)));
        status = write_piece(writer);
    }
    if (status == KV_OK) {
        status = files_publish_new(writer->files, writer->fd, FILES_INDEX);
    }
    if (status != KV_OK && status != KV_FATAL) {
        files_drop(writer->files, FILES_NEW);
    }
    release(writer);
    return status;
}

void snapshot_abort(struct snapshot_writer *writer)
{
    if (writer != NULL) {
        files_drop(writer->files, FILES_NEW);
        release(writer);
    }
}

/* An image whose own CRC is right, taken apart. */
struct image {
    uint64_t header[HEADER_FIELDS];
    struct slice parts;
    uint64_t needed_length;
};

static bool open_image(struct slice bytes, struct image *image)
{
    if (bytes.length < HEADER_BYTES + TRAILER_BYTES) {
        return false;
    }
    struct slice before_crc = slice_first(bytes, bytes.length - FIELD_BYTES);
    const uint8_t *trailer = bytes.bytes + bytes.length - TRAILER_BYTES;
    for (size_t i = 0; i < HEADER_FIELDS; i++) {
        image->header[i] = bytes_get_u64(bytes.bytes + i * FIELD_BYTES);
    }
    image->needed_length = bytes_get_u64(trailer);
    image->parts =
        slice_after(slice_first(bytes, bytes.length - TRAILER_BYTES), HEADER_BYTES);
    return image->header[0] == MAGIC &&
           crc32c(0, before_crc) == bytes_get_u64(trailer + FIELD_BYTES);
}

/* Set the scan to the seal that the image begins behind; false if the log has none there.
 */
static bool go_to_covered(const struct image *image, struct scan *scan)
{
    struct seal seal;
    uint64_t covered = image->header[3];
    if (covered == scan->offset) {
        return image->header[4] == scan->chain; /* nothing but the opening record */
    }
    if (covered < OPENING_BYTES + SEAL_BYTES || covered > scan->log.length) {
        return false;
    }
    uint64_t at = covered - SEAL_BYTES;
    struct slice mark = slice_first(slice_after(scan->log, (size_t)at), SEAL_BYTES);
    if (!record_decode_seal(mark, at, &seal) || seal.log_id != scan->log_id ||
        crc32c(seal.chain, mark) != image->header[4]) {
        return false;
    }
    scan->offset = covered;
    scan->chain = (uint32_t)image->header[4];
    scan->durable_length = seal.durable_length;
    /* The seal of a batch says that the batch's start was durable, a second seal its end.
     */
    scan->is_at_rest = seal.durable_length == at;
    return true;
}

static enum status load_parts(const struct image *image, struct keydir *keydir)
{
    struct slice rest = image->parts;
    unsigned side = keydir->current;
    keydir->seed = (struct hash_seed){{image->header[5], image->header[6]}};
    for (size_t i = 0; i < INDEX_PART_COUNT; i++) {
        size_t length = 0;
        struct index_part_sums sums;
        enum status status = index_decode_part(keydir->index, i, rest, &length, &sums);
        if (status != KV_OK) {
            return status;
        }
        if (sums.payload_end_max + RECORD_HEADER_BYTES > image->needed_length) {
            return KV_CORRUPT;
        }
        keydir->key_count += sums.entry_count;
        keydir->entry_count[side] += sums.entry_count;
        keydir->live_bytes += sums.payload_bytes + sums.entry_count * RECORD_HEADER_BYTES;
        rest = slice_after(rest, length);
    }
    return rest.length == 0 ? KV_OK : KV_CORRUPT;
}

static enum status disbelieve(const struct files *files, const char *reason)
{
    diag_warnx("%s" FILES_INDEX ": %s; reading the whole log", files_path(files), reason);
    return KV_NOT_FOUND;
}

static enum status believe(const struct files *files, struct slice bytes,
                           const struct opening *opening, struct keydir *keydir,
                           struct scan *scan, uint64_t *needed_length_out)
{
    struct image image;
    struct scan covered = *scan;
    if (!open_image(bytes, &image)) {
        return disbelieve(files, "is damaged");
    }
    if (image.header[1] != opening->log_id || image.header[2] != opening->generation) {
        return disbelieve(files, "is of another log");
    }
    *needed_length_out = image.needed_length;
    if (image.needed_length > scan->log.length) {
        diag_errorx("%s: the log is %zu bytes long, but %" PRIu64
                    " of it were durable when " FILES_INDEX
                    " was written; nothing was changed",
                    files_path(files), scan->log.length, image.needed_length);
        return KV_CORRUPT;
    }
    if (!go_to_covered(&image, &covered)) {
        return disbelieve(files, "does not match the log");
    }
    enum status status = load_parts(&image, keydir);
    if (status == KV_CORRUPT) {
        struct log *log = keydir_log(keydir);
        keydir_destroy(keydir);
        status = keydir_init(keydir, log);
        return status == KV_OK ? disbelieve(files, "is damaged") : status;
    }
    if (status == KV_OK) {
        covered.drained_id =
            opening->older_id; /* taken only when no older log was left */
        *scan = covered;
    }
    return status;
}

enum status snapshot_load(const struct files *files, const struct opening *opening,
                          struct keydir *keydir, struct scan *scan,
                          uint64_t *needed_length_out)
{
    int fd = -1;
    uint64_t length = 0;
    struct mapping *mapping = NULL;
    *needed_length_out = 0;
    enum status status = files_open_plain(files, FILES_INDEX, true, &fd);
    if (status != KV_OK) {
        return KV_NOT_FOUND; /* anything but a missing file was reported */
    }
    status = mapping_open(fd, &mapping, &length);
    if (status != KV_OK) {
        status = disbelieve(files, "cannot be read");
    } else {
        struct slice bytes = {mapping_bytes(mapping), (size_t)length};
        status = believe(files, bytes, opening, keydir, scan, needed_length_out);
    }
    mapping_close(mapping);
    files_close_plain(fd);
    return status;
}

void snapshot_remove(const struct files *files)
{
    files_drop(files, FILES_INDEX);
}
