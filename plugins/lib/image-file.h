/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that hold disks: opening with a lock, whole reads and writes, holes.  Functions that return
 * int return 0 or an errno.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens a regular file or block device and locks it (of the open file description, so that it ends
   with the last descriptor): one writer, or any number of readers.  *unlocked tells that the file
   system has no locks; may be NULL.  -1 with *error set; the message names the path. */
int image_file_open (const char *path, bool writable, bool *unlocked, GError **error);
/* Bytes of the file or device; -1 with *error set. */
int64_t image_file_size (int fd, const char *path, GError **error);
/* A read beyond the end is EIO: somebody cut the file. */
int image_file_read (int fd, uint64_t offset, void *buffer, size_t size);
int image_file_write (int fd, uint64_t offset, const void *buffer, size_t size);
int image_file_sync (int fd);
bool image_is_zero (const void *buffer, size_t size);
/* Writes zeros as a hole where the file system can; leaves holes as they are. */
int image_file_write_zeros (int fd, uint64_t offset, const void *zeros, size_t size);
/* Whether `offset` lies in data rather than a hole, and how many bytes that goes on. */
bool image_file_stored (int fd, uint64_t offset, uint64_t size, uint64_t *length);
