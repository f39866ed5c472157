/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plugin descriptor, ABI version 1.
 *
 *   static const TnProperty props[] = {
 *     TN_PROP_UINT (Uart, port, "port", "first of eight I/O ports", 0x3f8, 0, 0xfff8), ...
 *     TN_PROP_END };
 *   static const TnField fields[] = { TN_FIELD (Uart, lcr, 1), ... TN_FIELD_END };
 *   TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
 *     TN_PLUGIN_HEADER, .name = "uart16550a", ... };
 *
 * Everything that the descriptor points to must live as long as the shared object.  The instance
 * structure begins with `TnDevice *device;`, which the core sets before any operation is called.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

#define TN_PLUGIN_MAGIC 0x4e6f6e65545f5631u /* "1V_TenoN" */
#define TN_PLUGIN_MAJOR 1                   /* stands in the symbol's name, too */
/* 1: displays; 2: TnBlockOps.change; 3: image_ops */
#define TN_PLUGIN_MINOR 3
#define TN_PLUGIN_SYMBOL "tn_plugin_1"
#define TN_PLUGIN_EXPORT __attribute__ ((visibility ("default")))
#define TN_PLUGIN_HEADER                                                                           \
  .magic = TN_PLUGIN_MAGIC, .minor = TN_PLUGIN_MINOR, .struct_size = sizeof (TnPlugin)

typedef struct TnDevice TnDevice; /* the core's wrapper (a GObject) of one plugin instance */

/* What a plugin is; one .so is of one kind. */
typedef enum {
  TN_KIND_DEVICE = 1, /* a card or chip of the guest's machine */
  TN_KIND_CHAR = 2,   /* character back end; char_ops is set */
  TN_KIND_BLOCK = 3,  /* disk image or other block back end; block_ops is set */
  TN_KIND_DISPLAY = 4, /* window or other display; display_ops is set */
} TnKind;

/* ---- Properties: set from the configuration before realize, readable through GObject ---- */

typedef enum {
  TN_PROP_TYPE_END = 0,
  TN_PROP_TYPE_BOOL,   /* bool */
  TN_PROP_TYPE_UINT,   /* uint32_t, range checked against min..max */
  TN_PROP_TYPE_UINT64, /* uint64_t, range checked */
  TN_PROP_TYPE_STRING, /* const char *, owned by the core, NULL when not set and without default */
  TN_PROP_TYPE_ENUM,   /* uint32_t: index into `choices` */
  TN_PROP_TYPE_LINK,   /* const char *: name of another device of kind `link_kind`, or NULL */
  TN_PROP_TYPE_FILE,   /* const char *: a path, relative to the configuration file; empty: NULL */
} TnPropType;

typedef struct {
  const char *name;  /* lower case, words joined by '-' */
  const char *blurb; /* one line: meaning, unit */
  TnPropType type;
  bool required; /* the configuration must give it */
  size_t offset; /* of the member in the instance structure */
  uint64_t min, max, default_value; /* of a FILE: max is 1 if the plugin makes it */
  const char *default_string;
  const char *const *choices; /* TN_PROP_TYPE_ENUM: NULL-terminated */
  TnKind link_kind;           /* TN_PROP_TYPE_LINK */
} TnProperty;

#define TN_PROP_CHECK_(T, m, ctype)                                                                \
  (offsetof (T, m)                                                                                 \
   + 0 * sizeof (char[__builtin_types_compatible_p (__typeof__ (((T *) 0)->m), ctype) ? 1 : -1]))
#define TN_PROP_BOOL(T, m, n, text, def)                                                           \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_BOOL, .offset = TN_PROP_CHECK_ (T, m, bool),    \
    .max = 1, .default_value = def }
#define TN_PROP_UINT(T, m, n, text, def, lo, hi)                                                   \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_UINT, .min = lo, .max = hi,                     \
    .offset = TN_PROP_CHECK_ (T, m, uint32_t), .default_value = def }
#define TN_PROP_UINT64(T, m, n, text, def, lo, hi)                                                 \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_UINT64, .min = lo, .max = hi,                   \
    .offset = TN_PROP_CHECK_ (T, m, uint64_t), .default_value = def }
#define TN_PROP_STRING(T, m, n, text, def)                                                         \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_STRING, .default_string = def,                  \
    .offset = TN_PROP_CHECK_ (T, m, const char *) }
#define TN_PROP_FILE(T, m, n, text, req)                                                           \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_FILE, .required = req,                          \
    .offset = TN_PROP_CHECK_ (T, m, const char *) }
/* A file that the plugin makes if it is not there. */
#define TN_PROP_FILE_MADE(T, m, n, text)                                                           \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_FILE, .max = 1,                                 \
    .offset = TN_PROP_CHECK_ (T, m, const char *) }
#define TN_PROP_ENUM(T, m, n, text, def, list)                                                     \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_ENUM, .default_value = def, .choices = list,    \
    .offset = TN_PROP_CHECK_ (T, m, uint32_t) }
#define TN_PROP_LINK(T, m, n, text, kind)                                                          \
  { .name = n, .blurb = text, .type = TN_PROP_TYPE_LINK, .link_kind = kind,                        \
    .offset = TN_PROP_CHECK_ (T, m, const char *) }
#define TN_PROP_END { .name = NULL }

/* ---- Signals: announced to scripts, the control socket and other parts of the host ---- */

typedef struct {
  const char *name;  /* e.g. "activity" */
  const char *blurb; /* what it tells, and its argument */
  bool has_value;    /* one guint64 argument */
} TnSignal;

#define TN_SIGNAL(n, text) { .name = n, .blurb = text }
#define TN_SIGNAL_VALUE(n, text) { .name = n, .blurb = text, .has_value = true }
#define TN_SIGNAL_END { .name = NULL }

/* ---- Saved state: a table of fields ---- */

typedef enum {
  TN_FIELD_TYPE_END = 0,
  TN_FIELD_TYPE_BOOL,
  TN_FIELD_TYPE_UINT,   /* of `size` 1, 2, 4 or 8 bytes; `count` of them */
  TN_FIELD_TYPE_INT,    /* the same, signed */
  TN_FIELD_TYPE_BYTES,  /* `size` bytes as they are (uint8_t arrays, buffers) */
  TN_FIELD_TYPE_TIME,   /* int64_t, virtual ns or TN_TIME_NEVER; saved relative to now */
  TN_FIELD_TYPE_STRUCT, /* `count` structures of `size` bytes, each saved by `fields` */
} TnFieldType;

typedef struct TnField TnField;
struct TnField {
  const char *name;
  TnFieldType type;
  uint32_t since; /* first state version that has it; see TnPlugin.state_version */
  size_t offset, size, count;
  const TnField *fields;
};

/* Type code of an lvalue: integers, bool, enums, and arrays of these. */
#define TN_FIELD_TYPE_OF_(x)                                                                       \
  _Generic ((x), bool: TN_FIELD_TYPE_BOOL, bool *: TN_FIELD_TYPE_BOOL,                             \
            int8_t: TN_FIELD_TYPE_INT, int16_t: TN_FIELD_TYPE_INT, int32_t: TN_FIELD_TYPE_INT,     \
            int64_t: TN_FIELD_TYPE_INT, int8_t *: TN_FIELD_TYPE_INT, int16_t *: TN_FIELD_TYPE_INT, \
            int32_t *: TN_FIELD_TYPE_INT, int64_t *: TN_FIELD_TYPE_INT,                            \
            uint8_t *: TN_FIELD_TYPE_BYTES, default: TN_FIELD_TYPE_UINT)
#define TN_FIELD_ELEMENT_(x)                                                                       \
  _Generic ((x), bool *: sizeof (bool), int8_t *: 1, int16_t *: 2, int32_t *: 4, int64_t *: 8,     \
            uint16_t *: 2, uint32_t *: 4, uint64_t *: 8, default: sizeof (x))

/* A scalar, or an array of scalars, derived from the member's C type. */
#define TN_FIELD(T, m, version)                                                                    \
  { .name = #m, .type = TN_FIELD_TYPE_OF_ (((T *) 0)->m), .since = version,                        \
    .offset = offsetof (T, m), .size = TN_FIELD_ELEMENT_ (((T *) 0)->m),                           \
    .count = sizeof (((T *) 0)->m) / (TN_FIELD_ELEMENT_ (((T *) 0)->m)) }
/* An absolute virtual time (int64_t, ns). */
#define TN_FIELD_TIME(T, m, version)                                                               \
  { .name = #m, .type = TN_FIELD_TYPE_TIME, .since = version, .offset = offsetof (T, m),           \
    .size = sizeof (((T *) 0)->m), .count = 1 }
/* A structure, or an array of structures (`n` of them; 1 for a plain member). */
#define TN_FIELD_STRUCT(T, m, n, table, version)                                                   \
  { .name = #m, .type = TN_FIELD_TYPE_STRUCT, .since = version, .offset = offsetof (T, m),         \
    .size = sizeof (((T *) 0)->m) / (n), .count = n, .fields = table }
#define TN_FIELD_END { .name = NULL }

/* ---- I/O map, for `tenon devices NAME`, man pages and readers ---- */

typedef struct {
  const char *where; /* "port+0", "40h-43h", "BAR0+10h", "IRQ 4" */
  const char *what;
} TnIoDoc;

/* ---- Operations ---- */

typedef enum {
  TN_RESET_HARD, /* power on, CF9 hard reset: every register as after RESET# */
  TN_RESET_SOFT, /* only the processor (INIT); devices are not called for it */
} TnResetKind;

typedef struct {
  /* Acquire ports, lines, timers ...; properties are set.  False with *error set refuses to be: the
     core then revokes all that was acquired; unrealize is not called.  Required. */
  bool (*realize) (void *self, GError **error);
  /* Free what the core does not know of.  The ledger frees the rest afterwards.  May be NULL. */
  void (*unrealize) (void *self);
  /* Registers to their reset values; timers and lines too.  Called after realize of all devices of
     the machine, at each hard reset, and before a state (saved, or of the predecessor) is loaded.
     May be NULL. */
  void (*reset) (void *self);
  /* After a reset (so that fields that an older state has not have their reset values), and after
     the saved fields, line levels and PCI bytes were loaded: refuse values that no sequence of
     guest accesses could have made, then derive caches, set timers (all are off), set line levels.
     After a refusal nothing but unrealize, or a load of other fields, follows.  May be NULL. */
  bool (*restored) (void *self, GError **error);
  /* Before the fields are saved: bring them up to date.  May be NULL. */
  void (*saving) (void *self);
} TnOps;

typedef struct TnCharOps TnCharOps;   /* char.h */
typedef struct TnBlockOps TnBlockOps; /* block.h */
typedef struct TnDisplayOps TnDisplayOps; /* display.h */
typedef struct TnImageOps TnImageOps; /* block.h */

typedef struct TnPlugin {
  uint64_t magic;
  uint32_t minor;       /* TN_PLUGIN_MINOR that it was built with */
  uint32_t struct_size; /* sizeof (TnPlugin) that it was built with */
  const char *name;     /* name of the type, as the configuration's `plugin` gives it */
  const char *summary;  /* one line */
  const char *document; /* the data sheet that it follows */
  TnKind kind;
  uint32_t state_version; /* raised when fields are added; starts at 1 */
  size_t instance_size;
  const TnProperty *properties; /* may be NULL, as the next three */
  const TnSignal *signals;
  const TnField *fields;
  const TnIoDoc *io;
  TnOps ops;
  const TnCharOps *char_ops;   /* TN_KIND_CHAR */
  const TnBlockOps *block_ops; /* TN_KIND_BLOCK */
  const TnDisplayOps *display_ops; /* TN_KIND_DISPLAY */
  const TnImageOps *image_ops; /* TN_KIND_BLOCK; may be NULL.  Since minor 3 */
} TnPlugin;

#pragma GCC visibility pop
G_END_DECLS
