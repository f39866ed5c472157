/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands on the keys: layouts, names of keys, X keysyms.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <tenon/input.h>

G_BEGIN_DECLS

typedef enum { TN_LEVEL_PLAIN, TN_LEVEL_SHIFT, TN_LEVEL_ALTGR } TnKeyLevel;

typedef struct {
  TnKey key;
  TnKeyLevel level;
  bool letter; /* Shift makes it a capital and nothing else: either form is this key */
  bool dead;   /* waits for what follows; a space makes it stand alone */
} TnKeyStroke;

/* "us", "uk", "de", "fr", NULL; the position is the number of the layout. */
extern const char *const tn_keymap_names[];
/* How a character is typed; false if the layout does not have it. */
bool tn_keymap_character (unsigned layout, gunichar character, TnKeyStroke *stroke);
/* The same for a keysym; keys that bear no character have no level. */
bool tn_keymap_keysym (unsigned layout, uint32_t keysym, TnKeyStroke *stroke, bool *printable);
/* "ctrl", "f1", "a" ...; TN_KEY_NONE if there is no such key. */
TnKey tn_keymap_named (const char *name);

G_END_DECLS
