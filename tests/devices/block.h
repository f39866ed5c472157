/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of disk back ends: one of them alone, driven by its operations. */
#pragma once

#include <tenon/harness.h>

typedef struct {
  TnHarness *h;
  const TnBlockOps *ops;
  const TnImageOps *image;
  void *self;
} Back;

static inline void
back_refresh (Back *b, const char *name)
{
  b->ops = tn_harness_plugin (b->h, name)->block_ops;
  b->image = tn_harness_plugin (b->h, name)->image_ops;
  b->self = tn_device_instance (tn_harness_device (b->h, name));
}

/* `pairs`: names and values of properties, NULL-terminated. */
static inline bool
back_try (Back *b, const char *plugin, const char *const *pairs, GError **error)
{
  *b = (Back){ .h = tn_harness_new (1 << 20) };
  if (tn_harness_try_add (b->h, "disk", plugin, pairs, error) != NULL
      && tn_harness_try_start (b->h, error))
    {
      back_refresh (b, "disk");
      return true;
    }
  tn_harness_free (b->h);
  b->h = NULL;
  return false;
}

static inline void
back_open (Back *b, const char *plugin, const char *const *pairs)
{
  GError *error = NULL;

  back_try (b, plugin, pairs, &error);
  g_assert_no_error (error);
}

static inline void
back_close (Back *b)
{
  tn_harness_free (b->h);
  b->h = NULL;
}

/* The next realize finds what is there as after a swap. */
static inline void
back_swap (Back *b)
{
  GError *error = NULL;

  tn_harness_swap (b->h, "disk", NULL, &error);
  g_assert_no_error (error);
  back_refresh (b, "disk");
}

static inline uint64_t
back_size (Back *b)
{
  return b->ops->info (b->self).size;
}

static inline void
back_write (Back *b, uint64_t offset, const void *bytes, size_t size)
{
  g_assert_cmpint (b->ops->write (b->self, offset, bytes, size), ==, 0);
}

static inline void
back_read (Back *b, uint64_t offset, void *bytes, size_t size)
{
  g_assert_cmpint (b->ops->read (b->self, offset, bytes, size), ==, 0);
}

static inline void
back_flush (Back *b)
{
  g_assert_cmpint (b->ops->flush (b->self), ==, 0);
}

/* The operations that need no instance: of a plugin that stays loaded until back_unload. */
static inline void
back_load (Back *b, const char *plugin)
{
  b->h = tn_harness_new (1 << 20);
  b->image = NULL;
  g_assert_nonnull (tn_harness_try_add (b->h, "unused", plugin, NULL, NULL));
  b->image = tn_harness_plugin (b->h, "unused")->image_ops;
  g_assert_nonnull (b->image);
}

static inline bool
image_progress (void *data, uint64_t done, uint64_t total)
{
  return true;
}

/* What a check found: how many of each kind, and the last text. */
typedef struct {
  unsigned count[TN_IMAGE_LOSS + 1];
  char *text;
} Found;

static inline void
image_found (void *data, TnImageFinding finding, const char *text)
{
  Found *f = data;

  f->count[finding]++;
  g_free (f->text);
  f->text = g_strdup (text);
}

static inline bool
image_check (const TnImageOps *image, const char *path, bool repair, Found *found)
{
  TnImageMonitor monitor = { .data = found, .progress = image_progress, .found = image_found };
  GError *error = NULL;
  bool fine;

  memset (found->count, 0, sizeof found->count);
  g_clear_pointer (&found->text, g_free);
  fine = image->check (path, repair, &monitor, &error);
  g_assert_no_error (error);
  return fine;
}
