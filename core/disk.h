/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk images outside of a running machine, for `tenon disk`.  Formats are those of the block back
 * ends with image_ops; an image is opened by its plugin, as a device of a machine that has nothing
 * else and does not run.
 */
#pragma once

#include "machine.h"

G_BEGIN_DECLS

typedef struct {
  char *name; /* of the plugin, without what stands before the first '-' */
  TnModule *module;
  const TnPlugin *plugin;
} TnDiskFormat;

/* All that the plugin path has, with a score for each of them as needed. */
GPtrArray *tn_disk_formats (void); /* TnDiskFormat; free with g_ptr_array_unref */
/* By name ("vhd" or "disk-vhd"); NULL with a suggestion. */
const TnDiskFormat *tn_disk_format_named (const GPtrArray *formats, const char *name,
                                          GError **error);
/* By a file's suffix, for one that is to be made. */
const TnDiskFormat *tn_disk_format_for (const GPtrArray *formats, const char *path, GError **error);
/* By what the file has in it, or by the form of an address. */
const TnDiskFormat *tn_disk_format_of (const GPtrArray *formats, const char *path, GError **error);

typedef struct {
  TnMachine *machine;
  TnDevice *device;
  const TnDiskFormat *format;
  const TnBlockOps *ops;
  const TnImageOps *image;
  void *self;
  TnBlockInfo info;
} TnDisk;

/* `sets`: "PROPERTY=VALUE" of the plugin; may be NULL. */
TnDisk *tn_disk_open (const TnDiskFormat *format, const char *path, bool writable,
                      const GPtrArray *sets, GError **error);
void tn_disk_close (TnDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TnDisk, tn_disk_close)

/* Copies all that is not zero; `to` must read as zeros, and be no smaller. */
bool tn_disk_copy (TnDisk *from, TnDisk *to, const TnImageMonitor *monitor, GError **error);

/* ---- A file that appears, or replaces another one, when it is whole ---- */

typedef struct {
  char *path, *making; /* wanted; where it is made, in the same folder */
  bool replace;
  int lock; /* of what is there, or -1 */
} TnDiskTarget;

/* Fails if the file is there and may not be replaced, or is in use. */
TnDiskTarget *tn_disk_target_new (const char *path, bool replace, GError **error);
bool tn_disk_target_finish (TnDiskTarget *target, GError **error);
/* Also removes what was being made. */
void tn_disk_target_free (TnDiskTarget *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TnDiskTarget, tn_disk_target_free)

/* "10G", "64M", "512K", "1T", "4096": bytes. */
bool tn_disk_parse_size (const char *text, uint64_t *size);

G_END_DECLS
