/*
 * The version of the program; the log has a version of its own, see record.h.
 */
#ifndef KV_VERSION_H
#define KV_VERSION_H

#define KV_VERSION "0.1.0"

#endif
