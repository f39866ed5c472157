/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks.  A controller (front end) names a back end in a link property and submits requests; the
 * core runs the back end's operations on a worker thread, off the machine lock, in order per back
 * end, and completes them under the lock.  Swap and save wait until no request of the device is in
 * flight.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct {
  uint64_t size;        /* bytes; 0 with !present */
  uint32_t sector_size; /* 512 or 2048 */
  bool read_only;
  bool removable;
  bool present; /* a medium is in */
} TnBlockInfo;

/* ---- Front end ---- */

typedef struct TnBlock TnBlock;
typedef void (*TnMediaFunc) (void *self, void *data); /* medium was inserted or ejected */
/* NULL link: an empty stream with !present (a drive without a medium, or no drive). */
TnBlock *tn_device_block (TnDevice *device, const char *link, TnMediaFunc changed, void *data,
                          GError **error);
TnBlockInfo tn_block_info (const TnBlock *block);

/* errno-style result: 0, or EIO, ENOMEDIUM, EROFS, ENOSPC. */
typedef void (*TnBlockFunc) (void *self, int error, void *data);
/* Exactly `size` bytes at byte `offset`; the buffer stays valid and untouched until `done`, which
   is called later (never before the call returns) under the machine lock.  After a swap of the
   front end, requests of the old one have all completed. */
void tn_block_read (TnBlock *block, uint64_t offset, void *buffer, size_t size, TnBlockFunc done,
                    void *data);
void tn_block_write (TnBlock *block, uint64_t offset, const void *buffer, size_t size,
                     TnBlockFunc done, void *data);
/* Done when all that was written before is on stable storage. */
void tn_block_flush (TnBlock *block, TnBlockFunc done, void *data);
/* The guest ejects the medium (CD): forwarded to the back end. */
void tn_block_eject (TnBlock *block);
/* The guest wants the medium to stay in: the user is asked to mean it. */
void tn_block_set_locked (TnBlock *block, bool locked);

/* ---- Back end (TN_KIND_BLOCK): read, write and flush run off the lock, one at a time ---- */

struct TnBlockOps {
  TnBlockInfo (*info) (void *self); /* under the lock */
  int (*read) (void *self, uint64_t offset, void *buffer, size_t size);
  int (*write) (void *self, uint64_t offset, const void *buffer, size_t size);
  int (*flush) (void *self);
  void (*eject) (void *self); /* under the lock; may be NULL */
  /* Since minor 2; NULL: the medium cannot be changed.  The user puts in the medium `file` (an
     absolute path), or takes out the one that is in (NULL).  Under the lock, with no request in
     flight.  False with *error set leaves in what is in.  The core then keeps `file` as the property
     "file" (of TN_PROP_TYPE_FILE), so that a swap goes on with it, and tells the front end. */
  bool (*change) (void *self, const char *file, GError **error);
};
/* Tells the front end that the medium changed. */
void tn_device_block_changed (TnDevice *device);

#pragma GCC visibility pop
G_END_DECLS
