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

/* ---- Back end (TN_KIND_BLOCK): read, write and flush run off the lock, one at a time ----
   In real time the core also flushes what was written when the disk has been idle for 2 s. */

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

/* ---- Images (TnPlugin.image_ops; NULL: none): what `tenon disk` asks of a back end ---- */

/* An image to be made. */
typedef struct {
  const char *path;
  uint64_t size;       /* bytes, a multiple of 512; 0: as the parent */
  const char *type;    /* one of TnImageOps.types, or NULL: the format's usual one */
  const char *parent;  /* image that it is a difference to, or NULL */
  uint32_t block_size; /* unit of allocation in bytes; 0: the format's usual one */
  bool exact;          /* exactly this size, where a format would round it up */
} TnImageSpec;

typedef enum {
  TN_IMAGE_REPAIRED, /* was wrong, and is right now */
  TN_IMAGE_NOTE,     /* harmless: unused space, and the like */
  TN_IMAGE_DAMAGE,   /* wrong, but what the disk holds is safe: can be repaired */
  TN_IMAGE_LOSS,     /* something that the disk held is not there, or cannot be trusted */
} TnImageFinding;

/* Whoever waits for a long operation.  Both functions are there. */
typedef struct {
  void *data;
  bool (*progress) (void *data, uint64_t done, uint64_t total); /* false: stop, and fail */
  void (*found) (void *data, TnImageFinding finding, const char *text);
} TnImageMonitor;

/* All but `property` may be NULL.  Functions with `self` take a realized instance, in no machine
   that runs; those with a path need none, and lock the file. */
struct TnImageOps {
  const char *property;        /* the one that names the image: "file" */
  const char *const *suffixes; /* of file names, lower case, without the dot; NULL-terminated */
  const char *const *types;    /* for TnImageSpec.type; the first is the usual one */
  /* Is it one?  0: no; 1: it could be anything; 100: it bears the format's mark.  `head` and `tail`
     are the first and the last `size` bytes of the file (at most 512); size 0: `name` is no file,
     but may be an address. */
  unsigned (*probe) (const char *name, const uint8_t *head, const uint8_t *tail, size_t size);
  /* Makes the file, which must not exist; nothing is left of it after a failure. */
  bool (*create) (const TnImageSpec *spec, GError **error);
  /* Looks for what is wrong, and with `repair` puts right what can be without guessing.  False:
     something is wrong that was not repaired (the monitor was told), or, with *error set, it could
     not be looked at. */
  bool (*check) (const char *path, bool repair, const TnImageMonitor *monitor, GError **error);
  /* Facts for people, in a fixed order. */
  void (*info) (void *self, void (*tell) (void *data, const char *name, const char *value),
                void *data);
  /* Writes what is kept here into the parent, and forgets it here. */
  bool (*commit) (void *self, const TnImageMonitor *monitor, GError **error);
  /* Forgets what is kept here: the disk is as its parent. */
  bool (*discard) (void *self, GError **error);
  /* Whether bytes at `offset` are stored anywhere (else they read as zeros), and for how many (at
     least 1) the answer holds. */
  bool (*stored) (void *self, uint64_t offset, uint64_t *length);
};

#pragma GCC visibility pop
G_END_DECLS
