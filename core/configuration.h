/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A machine's configuration: what tenon.cfg(5) describes, read and checked but not yet built.
 *
 *   g_autoptr (GPtrArray) errors = g_ptr_array_new_with_free_func (g_free);
 *   TnConfig *config = tn_config_load ("demo.cfg", sets, errors);
 *   tn_config_check (config, plugins, errors);
 *   if (errors->len) print each, exit with EX_CONFIG
 *
 * Errors are whole lines, "file:line: what was expected and what was found", as many as can be
 * found in one go.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <tenon/plugin.h>

G_BEGIN_DECLS

typedef enum {
  TN_CONFIG_BOOL,
  TN_CONFIG_INT,
  TN_CONFIG_FLOAT,
  TN_CONFIG_STRING,
  TN_CONFIG_GROUP, /* group, list or array: no setting takes one */
  TN_CONFIG_TEXT,  /* of the command line: whatever the setting wants */
} TnConfigType;

typedef struct {
  const char *file; /* owned by the configuration; NULL: the command line */
  unsigned line;
} TnConfigWhere;

typedef struct {
  char *name;
  TnConfigWhere where;
  TnConfigType type;
  int64_t integer; /* INT, BOOL */
  bool unsigned_;  /* INT: the file has it in hexadecimal, beyond INT64_MAX is not negative */
  double real;     /* FLOAT */
  char *string;    /* STRING, TEXT; for all: what to show in messages */
  char *checked;   /* after tn_config_check: the text to set the property to; NULL if wrong */
} TnConfigValue;

typedef struct {
  char *name, *plugin; /* plugin may be NULL until checked */
  bool enabled;
  TnConfigWhere where;
  GPtrArray *values; /* of TnConfigValue *, without name, plugin and enabled */
  const TnPlugin
      *type;   /* during tn_config_check: the descriptor, or NULL; the check's plugins own it */
  TnKind kind; /* after tn_setup_load */
} TnConfigDevice;

typedef enum { TN_CONFIG_CLOCK_REAL, TN_CONFIG_CLOCK_COUNTED } TnConfigClock;
typedef enum { TN_CONFIG_FAULT_RESET, TN_CONFIG_FAULT_STOP } TnConfigFault;
typedef enum {
  TN_CONFIG_DISPLAY_AUTO,
  TN_CONFIG_DISPLAY_NONE,
  TN_CONFIG_DISPLAY_TEXT,
  TN_CONFIG_DISPLAY_SDL,
  TN_CONFIG_DISPLAY_VNC,
} TnConfigDisplay;

typedef enum {
  TN_CONFIG_ENGINE_TRANSLATE,
  TN_CONFIG_ENGINE_INTERPRET,
} TnConfigEngine;

typedef struct {
  char *file;
  char *name;
  uint64_t memory; /* MiB */
  uint64_t clock;  /* TnConfigClock */
  uint64_t instructions_per_second;
  uint64_t triple_fault; /* TnConfigFault */
  uint64_t display;      /* TnConfigDisplay */
  uint64_t engine;       /* TnConfigEngine */
  uint64_t keyboard;     /* a number of tn_keymap_names */
  bool rtc_local;
  int64_t rtc_offset; /* s, with !rtc_local */
  bool apic, sse2, fast_io, host_mmu, additions;
  bool perf_map, gdb_jit;
  char *jitdump; /* directory, or NULL */
  uint64_t tsc_hz, apic_bus_hz;
  GPtrArray *devices; /* of TnConfigDevice *, in the order of the file */
  GPtrArray *files;   /* of char *: all that were read */
} TnConfig;

/* `sets` (NULL-terminated, may be NULL) are "device.property=value" of the command line.  Never
   NULL; usable only if no error was added. */
TnConfig *tn_config_load (const char *file, const char *const *sets, GPtrArray *errors);
void tn_config_free (TnConfig *config);
TnConfigDevice *tn_config_device (const TnConfig *config, const char *name);

/* Finds a descriptor by the text of `plugin`; NULL with *error set.  And the names that it could
   have been (NULL-terminated, free with g_strfreev), and where they were looked for. */
typedef struct {
  const TnPlugin *(*find) (void *opaque, const char *plugin, GError **error);
  char **(*names) (void *opaque);
  char *(*places) (void *opaque); /* "DIR, DIR"; free with g_free */
  void *opaque;
} TnConfigPlugins;
/* Checks devices against the descriptors of their plugins; fills `type` and `checked`. */
void tn_config_check (TnConfig *config, const TnConfigPlugins *plugins, GPtrArray *errors);

/* ---- Between config.c and config-check.c ---- */

void tn_config_problem (GPtrArray *errors, TnConfigWhere where, const char *format, ...)
    G_GNUC_PRINTF (3, 4);
/* "NAME: expected ..., found ..."; returns false. */
bool tn_config_wrong (const TnConfigValue *v, GPtrArray *errors, const char *expected);
/* Reads a value as a number, a boolean or one of `choices`; false after reporting. */
bool tn_config_value_uint (const TnConfigValue *v, uint64_t min, uint64_t max, uint64_t *result,
                           GPtrArray *errors);
bool tn_config_value_bool (const TnConfigValue *v, bool *result, GPtrArray *errors);
bool tn_config_value_choice (const TnConfigValue *v, const char *const *choices, uint64_t *result,
                             GPtrArray *errors);
bool tn_config_value_string (const TnConfigValue *v, const char **result, GPtrArray *errors);
/* A path that is relative to the file that has it (or to the working directory on the command
   line). Free with g_free (). */
char *tn_config_absolute (TnConfigWhere where, const char *name);
/* Do two names differ in '-' and '_' at most? */
bool tn_config_same_name (const char *a, const char *b);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (TnConfig, tn_config_free)

G_END_DECLS
