/*
 * What every test of the running program begins with: a temporary directory, a log in
 * it, and a server on that log that is gone when the test ends.
 */
#ifndef KV_SUPPORT_SCENE_H
#define KV_SUPPORT_SCENE_H

#include "base/slice.h"
#include "support/client.h"
#include "support/script.h"
#include "support/server.h"
#include "support/tempdir.h"

/* A test with a server that runs without options, and one that starts its own. */
#define ON_SERVER(test)                                                                  \
    cmocka_unit_test_setup_teardown(test, scene_setup_started, scene_teardown)
#define ON_SCENE(test) cmocka_unit_test_setup_teardown(test, scene_setup, scene_teardown)

/* Initialises a slice with the bytes of a literal, NULs inside it included. */
#define BYTES(text)                                                                      \
    {                                                                                    \
        (const uint8_t *)(text), sizeof(text) - 1                                        \
    }

struct exchange {
    struct slice request;
    struct slice reply;
};

struct scene {
    struct tempdir tempdir;
    struct tempdir_file log;
    struct server_process server;
};

/* For cmocka: *state is a struct scene; no server runs in it yet. */
int scene_setup(void **state);

/* The same with a server that runs without further options. */
int scene_setup_started(void **state);

/* Ends whatever still runs, removes the files. */
int scene_teardown(void **state);

/* Start a server on the log; options end in NULL, or are NULL. */
void scene_start(struct scene *scene, const char *const *options);

/* Stop the server cleanly, or by SIGKILL, and start one on the same log. */
void scene_restart(struct scene *scene);
void scene_crash(struct scene *scene);

/* Open a client of the server. */
struct client scene_client(const struct scene *scene);

/*
 * Send until the server sleeps though bytes of this client are there for it to read: it
 * takes no more requests. Returns how many bytes were sent; at most bytes.length.
 */
size_t scene_send_until_refused(const struct scene *scene, struct client *client,
                                struct slice bytes);

/* A client of its own sends the request, gets exactly the reply and then the end. */
void scene_talk(const struct scene *scene, struct slice request, struct slice reply);
void scene_talk_text(const struct scene *scene, const char *request, const char *reply);

/* The same, and both scripts are freed. */
void scene_talk_scripts(const struct scene *scene, struct script *requests,
                        struct script *replies);

/* The length of the log file. */
uint64_t scene_log_length(const struct scene *scene);

#endif
