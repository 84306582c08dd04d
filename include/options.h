/*
 * The command line, as a struct.
 */
#ifndef KV_OPTIONS_H
#define KV_OPTIONS_H

#include "engine/store.h"
#include "net/server.h"
#include "offline/follow.h"

enum options_result {
    OPTIONS_RUN,
    OPTIONS_DONE,  /* --help or --version was answered on stdout */
    OPTIONS_WRONG, /* reported on stderr */
    OPTIONS_FAILED /* the answer could not be written; reported on stderr */
};

enum mode { MODE_SERVE, MODE_VERIFY, MODE_SALVAGE, MODE_DUMP, MODE_FOLLOW };

struct options {
    enum mode mode;
    const char *salvage_path; /* MODE_SALVAGE: the new log */
    enum lines_format format; /* MODE_DUMP, MODE_FOLLOW */
    struct store_options store;
    struct server_options server;
};

/* The strings of options_out point into argv or are constants. */
enum options_result options_parse(int argc, char **argv, struct options *options_out);

#endif
