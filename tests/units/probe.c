/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See probe.h.  PROBE_KIND is the kind of plugin. */
#include "probe.h"

#define HOOKS(self) ((const ProbeHooks *) (uintptr_t) ((Probe *) (self))->hooks)

static bool
probe_realize (void *self, GError **error)
{
  return HOOKS (self)->realize == NULL || HOOKS (self)->realize (self, error);
}

static void
probe_unrealize (void *self)
{
  if (HOOKS (self)->unrealize)
    HOOKS (self)->unrealize (self);
}

static void
probe_reset (void *self)
{
  if (HOOKS (self)->reset)
    HOOKS (self)->reset (self);
}

static bool
probe_restored (void *self, GError **error)
{
  return HOOKS (self)->restored == NULL || HOOKS (self)->restored (self, error);
}

static void
probe_saving (void *self)
{
  if (HOOKS (self)->saving)
    HOOKS (self)->saving (self);
}

static size_t G_GNUC_UNUSED
probe_send (void *self, const uint8_t *bytes, size_t size)
{
  return HOOKS (self)->chars.send (self, bytes, size);
}

static void G_GNUC_UNUSED
probe_accept (void *self)
{
  if (HOOKS (self)->chars.accept)
    HOOKS (self)->chars.accept (self);
}

static TnBlockInfo G_GNUC_UNUSED
probe_info (void *self)
{
  return HOOKS (self)->blocks.info (self);
}

static int G_GNUC_UNUSED
probe_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  return HOOKS (self)->blocks.read (self, offset, buffer, size);
}

static int G_GNUC_UNUSED
probe_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  return HOOKS (self)->blocks.write (self, offset, buffer, size);
}

static int G_GNUC_UNUSED
probe_flush (void *self)
{
  return HOOKS (self)->blocks.flush (self);
}

static const TnProperty properties[] = {
  TN_PROP_UINT64 (Probe, hooks, "hooks", "address of the test's functions", 0, 0, UINT64_MAX),
  TN_PROP_LINK (Probe, link, "link", "back end", PROBE_LINK),
  TN_PROP_END
};
static const TnField fields[] = { TN_FIELD (Probe, state, 1), TN_FIELD_TIME (Probe, when, 1),
                                  TN_FIELD_END };
static const TnSignal signals[]
    = { TN_SIGNAL_VALUE ("seen", "the test saw a value"), TN_SIGNAL_END };

static const TnCharOps char_ops G_GNUC_UNUSED = { .send = probe_send, .accept = probe_accept };
static const TnBlockOps block_ops G_GNUC_UNUSED = { .info = probe_info, .read = probe_read,
                                                    .write = probe_write, .flush = probe_flush };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "probe",
  .summary = "does what a test wants",
  .kind = PROBE_KIND,
  .state_version = 1,
  .instance_size = sizeof (Probe),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .ops = { .realize = probe_realize, .unrealize = probe_unrealize, .reset = probe_reset,
           .restored = probe_restored, .saving = probe_saving },
  .char_ops = &char_ops,
  .block_ops = &block_ops,
};
