/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtual PC's hard disk images (VHD), after Microsoft's "Virtual Hard Disk Image Format
 * Specification", version 1.0 (2006).  All numbers are big-endian.
 *
 *   fixed         the disk's bytes, then the footer (512 bytes)
 *   dynamic       copy of the footer, header (1,024 bytes), block allocation table, blocks, footer
 *   differencing  the same, with a parent image that holds what was not written here
 *
 * The table has a 32-bit sector number for each block of the disk (2 MiB as a rule), all ones for
 * none.  A block is a bitmap, a bit per sector and the first one in the top bit, padded to whole
 * sectors, and then its data.  A clear bit says that the sector reads as the parent's, or as zeros.
 *
 * Files of this folder: vhd-format.c footer and header as bytes; vhd-open.c files and chains of
 * parents; vhd-parent.c where a parent is; vhd-io.c reading, writing, flushing; vhd-make.c new
 * images; vhd-check.c what may be wrong; vhd-commit.c into the parent; disk-vhd.c the plugin.
 */
#pragma once

#include "../lib/image-file.h"

#include <tenon/tenon.h>

#define VHD_SECTOR 512
#define VHD_FOOTER_SIZE 512
#define VHD_HEADER_SIZE 1024
#define VHD_UNUSED 0xffffffffu               /* table entry without a block */
#define VHD_MAX_SIZE (UINT64_C (2040) << 30) /* what the specification allows */
#define VHD_USUAL_BLOCK (2u << 20)
#define VHD_MIN_BLOCK 4096u
#define VHD_MAX_BLOCK (256u << 20)
#define VHD_MAX_ENTRIES (4u << 20) /* of the table: 2040 GiB in blocks of 512 KiB */
#define VHD_MAX_DEPTH 64           /* images of a chain */
#define VHD_LOCATORS 8
#define VHD_MAX_LOCATOR 16384 /* bytes of a path */

typedef enum {
  VHD_RAW = 0, /* no VHD: a parent without a format */
  VHD_FIXED = 2,
  VHD_DYNAMIC = 3,
  VHD_DIFFERENCING = 4,
} VhdType;

typedef struct {
  uint64_t data_offset; /* of the header; all ones in a fixed image */
  uint64_t current_size;
  uint32_t version, timestamp, type;
  char creator[5]; /* as text */
  uint16_t cylinders;
  uint8_t heads, sectors;
  uint8_t uuid[16];
  bool saved_state;
} VhdFooter;

typedef struct {
  uint32_t code; /* four characters */
  uint32_t space, length;
  uint64_t offset;
} VhdLocator;

typedef struct {
  uint64_t table_offset;
  uint32_t version, entries, block_size;
  uint8_t parent_uuid[16];
  uint32_t parent_time;     /* when it was last modified; 0 while a commit is under way */
  uint8_t parent_name[512]; /* UTF-16BE */
  VhdLocator locators[VHD_LOCATORS];
} VhdHeader;

#define VHD_CODE(a, b, c, d)                                                                       \
  ((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 | (uint32_t) (d))
#define VHD_RELATIVE VHD_CODE ('W', '2', 'r', 'u') /* UTF-16LE, backslashes */
#define VHD_ABSOLUTE VHD_CODE ('W', '2', 'k', 'u')
#define VHD_URL VHD_CODE ('M', 'a', 'c', 'X') /* UTF-8, file: URL */

/* ---- Bytes (vhd-format.c) ---- */

uint16_t vhd_get16 (const uint8_t *p);
uint32_t vhd_get32 (const uint8_t *p);
uint64_t vhd_get64 (const uint8_t *p);
void vhd_put16 (uint8_t *p, uint16_t value);
void vhd_put32 (uint8_t *p, uint32_t value);
void vhd_put64 (uint8_t *p, uint64_t value);
/* Recomputes the checksum. */
void vhd_seal_footer (uint8_t *bytes);
void vhd_seal_header (uint8_t *bytes);
bool vhd_has_mark (const uint8_t *bytes); /* of a footer */
/* NULL, or what is wrong with it. */
const char *vhd_parse_footer (const uint8_t *bytes, VhdFooter *footer);
const char *vhd_parse_header (const uint8_t *bytes, VhdHeader *header);
/* Cylinders, heads and sectors of the specification's appendix for so many sectors. */
void vhd_geometry (uint64_t sectors, uint16_t *cylinders, uint8_t *heads, uint8_t *per_track);
/* The least number of sectors from `sectors` on that a geometry has exactly. */
uint64_t vhd_round_up (uint64_t sectors);
/* Bytes of the disk: by the size or by the geometry, as the program that made it wants. */
uint64_t vhd_disk_size (const VhdFooter *footer);
/* Seconds since 2000, of a time since 1970. */
uint32_t vhd_time (int64_t unix_seconds);
uint32_t vhd_bitmap_size (uint32_t block_size); /* padded to sectors */
/* As VHD_CODE, for people; `text` has room for 5. */
void vhd_code_text (uint32_t code, char *text);

/* ---- Images ---- */

typedef struct VhdImage VhdImage;

/* A block's bitmap, as far as it is neither empty nor full. */
typedef struct {
  bool dirty; /* differs from the file */
  uint8_t bits[];
} VhdBitmap;

struct VhdImage {
  TnDevice *device; /* whose descriptors are kept over a swap; NULL: the image closes its own */
  char *key;        /* of the kept descriptor */
  char *path;
  int fd;
  bool writable;
  VhdType type;
  uint64_t size; /* of the disk */
  uint64_t device_number, inode;
  uint8_t footer_bytes[VHD_FOOTER_SIZE], header_bytes[VHD_HEADER_SIZE];
  VhdFooter footer;
  VhdHeader header;

  /* dynamic and differencing */
  uint32_t *table; /* host order, `entries` of them; what is here may not be in the file yet */
  uint32_t entries, block_size, bitmap_size;
  VhdBitmap **bitmaps; /* by block; NULL: not loaded, or full */
  uint8_t *full;       /* by block: all bits are set */
  GArray *dirty;       /* uint32_t: blocks with a dirty bitmap */
  GArray *stale;       /* uint32_t: sectors of the table that differ from the file */
  unsigned loaded;     /* bitmaps in memory */
  uint64_t next;       /* where the next block goes: all that is in use lies before */
  uint64_t end;        /* of the footer; zeros from `next` to here */
  bool tail_bad;       /* the footer at the end is not there; the copy at the head counts */
  bool head_bad;       /* the other way round */
  bool unsynced;       /* something was written since the last barrier */

  VhdImage *parent;
  const VhdImage *child; /* whose parent this is */
};

typedef struct {
  TnDevice *device;   /* NULL: none */
  const char *key;    /* of the first image's descriptor */
  bool writable;      /* the first image; parents never are */
  bool raw;           /* a file without VHD's mark is a raw image, if `writable` or as `parent` */
  const char *parent; /* of the first image: where it is, and it may be a raw image */
  bool any_time;      /* do not mind that the parent was modified */
  bool warned;        /* set: a file could not be locked */
} VhdOpen;

bool vhd_fail (GError **error, TnErrorCode code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* vhd-open.c */
VhdImage *vhd_open (VhdOpen *how, const char *path, GError **error);
/* Puts the file in order (vhd_tidy) if it is writable, unless it goes on in a swap. */
void vhd_close (VhdImage *image);
/* Opens the file anew for the other way of access. */
bool vhd_set_writable (VhdImage *image, bool writable, GError **error);
uint32_t vhd_modified (const VhdImage *image); /* its time of modification as a VHD has it */

/* What the checks of an image (vhd_load) find.  With `found` NULL the first damage or loss ends it
   with an error. */
typedef struct {
  const char *path;
  void (*found) (void *data, TnImageFinding finding, const char *text);
  void *data;
  bool repair; /* entries of the table that lead nowhere are cleared */
  unsigned damages, losses;
  unsigned cleared; /* of the losses: entries of the table that are none any more */
  GError **error;
} VhdProblems;

/* Says what is wrong; returns whether to go on. */
bool vhd_problem (VhdProblems *p, TnImageFinding finding, const char *format, ...)
    G_GNUC_PRINTF (3, 4);
/* Footer, header and table of an open file into the image. */
bool vhd_load (VhdImage *image, bool raw, VhdProblems *p);
/* The blocks: inside of the file, each by itself; then `next` and `end` (vhd-check.c). */
bool vhd_check_blocks (VhdImage *image, uint64_t file_size, VhdProblems *p);
bool vhd_check (const char *path, bool repair, const TnImageMonitor *monitor, GError **error);

/* vhd-parent.c */
/* Paths at which the parent may be, best first; free with g_ptr_array_unref. */
GPtrArray *vhd_parent_paths (const VhdImage *image);
/* Bytes of a locator for the way from `child` to `parent`, or NULL. */
GBytes *vhd_make_locator (uint32_t code, const char *child, const char *parent);
/* Base name of `parent` as the header has it. */
void vhd_make_parent_name (uint8_t *name, const char *parent);
/* Text of UTF-16 in a file; NULL if it is none. */
char *vhd_utf16_text (const uint8_t *bytes, size_t size, bool big_endian);

/* vhd-io.c: 0 or errno */
int vhd_read (VhdImage *image, uint64_t offset, void *buffer, size_t size);
int vhd_write (VhdImage *image, uint64_t offset, const void *buffer, size_t size);
int vhd_flush (VhdImage *image);
/* Whether the bytes at `offset` are stored in this image itself, and for how many that holds. */
bool vhd_own (VhdImage *image, uint64_t offset, uint64_t *length);
bool vhd_stored (VhdImage *image, uint64_t offset, uint64_t *length); /* in any of the chain */
/* Flushes, and moves the footer to the end of what is in use. */
int vhd_tidy (VhdImage *image);

/* vhd-make.c */
bool vhd_create (const TnImageSpec *spec, bool raw_parent, GError **error);
int vhd_write_header (VhdImage *image); /* of image->header_bytes, sealed, and synced */

/* vhd-commit.c */
bool vhd_commit (VhdImage *image, const TnImageMonitor *monitor, GError **error);
bool vhd_discard (VhdImage *image, GError **error);
