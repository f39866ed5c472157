/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floppy drives: head, rotation, change line, and the format of the medium that is in.
 *
 * A raw image bears no format: its size tells.  One of another size is taken for the smallest usual
 * 3.5" high density medium that holds it; what it lacks reads as zeros and cannot be written, so
 * that a bare boot sector is a disk.
 *
 * DSKCHG is set while no medium is in, and from a change until a step pulse with one.
 */
#include "fdc.h"

#define ROTATION_300_RPM (200 * TN_NS_PER_MS)
#define ROTATION_360_RPM (166667 * TN_NS_PER_US)
#define ROTATION_FAST TN_NS_PER_MS
#define STEP_FAST (20 * TN_NS_PER_US)
#define SEEK_OVERHEAD (100 * TN_NS_PER_US) /* also of a seek without a step: never at once */
#define RECALIBRATE_STEPS 79

static const FdcFormat formats[] = {
  /* 5.25" */
  { "160K", 40, 1, 8, 2, DENSITY_DOUBLE, DRIVE_360K },
  { "180K", 40, 1, 9, 2, DENSITY_DOUBLE, DRIVE_360K },
  { "320K", 40, 2, 8, 2, DENSITY_DOUBLE, DRIVE_360K },
  { "360K", 40, 2, 9, 2, DENSITY_DOUBLE, DRIVE_360K },
  { "400K", 40, 2, 10, 2, DENSITY_DOUBLE, DRIVE_360K },
  { "1.2M", 80, 2, 15, 2, DENSITY_HIGH, DRIVE_1200K },
  { "1.23M", 77, 2, 8, 3, DENSITY_HIGH, DRIVE_1200K },
  /* 3.5" */
  { "640K", 80, 2, 8, 2, DENSITY_DOUBLE, DRIVE_720K },
  { "720K", 80, 2, 9, 2, DENSITY_DOUBLE, DRIVE_720K },
  { "800K", 80, 2, 10, 2, DENSITY_DOUBLE, DRIVE_720K },
  { "820K", 82, 2, 10, 2, DENSITY_DOUBLE, DRIVE_720K },
  { "1.44M", 80, 2, 18, 2, DENSITY_HIGH, DRIVE_1440K },
  { "1.48M", 82, 2, 18, 2, DENSITY_HIGH, DRIVE_1440K },
  { "1.6M", 80, 2, 20, 2, DENSITY_HIGH, DRIVE_1440K },
  { "1.68M", 80, 2, 21, 2, DENSITY_HIGH, DRIVE_1440K },
  { "1.72M", 82, 2, 21, 2, DENSITY_HIGH, DRIVE_1440K },
  { "2.88M", 80, 2, 36, 2, DENSITY_EXTRA, DRIVE_2880K },
};

static uint64_t
format_size (const FdcFormat *format)
{
  return ((uint64_t) format->cylinders * format->heads * format->sectors)
         << (7 + format->size_code);
}

/* NULL for an image that is larger than any floppy. */
static const FdcFormat *
find_format (uint64_t size)
{
  for (unsigned i = 0; i < G_N_ELEMENTS (formats); i++)
    if (format_size (&formats[i]) == size)
      return &formats[i];
  for (unsigned i = 0; i < G_N_ELEMENTS (formats); i++)
    if (formats[i].drive >= DRIVE_1440K && format_size (&formats[i]) > size)
      return &formats[i];
  return NULL;
}

static unsigned
last_track (const FdcDrive *d)
{
  return d->type == DRIVE_360K ? 42 : FDC_LAST_TRACK;
}

/* ---- Media ---- */

static bool
drive_takes (FdcDriveType type, const FdcFormat *format)
{
  static const FdcDensity best[] = {
    [DRIVE_360K] = DENSITY_DOUBLE, [DRIVE_1200K] = DENSITY_HIGH,  [DRIVE_720K] = DENSITY_DOUBLE,
    [DRIVE_1440K] = DENSITY_HIGH,  [DRIVE_2880K] = DENSITY_EXTRA,
  };
  return format->density <= best[type] && (type != DRIVE_360K || format->cylinders <= 42);
}

/* Takes over what the back end says of its medium. */
static void
look_at_medium (FdcDrive *d, bool tell)
{
  TnBlockInfo info = tn_block_info (d->block);
  TnDevice *device = d->fdc->device;
  d->format = NULL;
  d->size = info.present ? info.size : 0;
  d->read_only = info.read_only;
  if (!info.present)
    return;
  d->format = info.size ? find_format (info.size) : NULL;
  if (!d->format)
    tn_device_log (device, TN_LOG_WARNING,
                   "the image in drive %c has %" G_GUINT64_FORMAT " bytes: no floppy is so large",
                   'A' + d->number, info.size);
  else if (!drive_takes (d->type, d->format))
    {
      tn_device_log (device, TN_LOG_WARNING,
                     "drive %c cannot read a floppy of %s; see its type in the configuration",
                     'A' + d->number, d->format->name);
      d->format = NULL;
    }
  else if (tell)
    tn_device_log (device, TN_LOG_INFO, "drive %c: a floppy of %s%s", 'A' + d->number,
                   d->format->name, d->read_only ? ", write protected" : "");
}

static void
medium_changed (void *self, void *data)
{
  FdcDrive *d = data;
  look_at_medium (d, true);
  d->changed = true;
  if (fdc_selected (d->fdc) == d)
    fdc_execute_medium (d->fdc);
}

bool
fdc_drive_turns (const FdcDrive *d)
{
  return d->block && tn_block_info (d->block).present && (d->fdc->dor & 0x10 << d->number);
}

static unsigned
medium_rate (const FdcDrive *d)
{
  switch (d->format->density)
    {
    case DENSITY_DOUBLE:
      return d->type == DRIVE_1200K ? RATE_300K : RATE_250K; /* it turns faster */
    case DENSITY_HIGH: return RATE_500K;
    default: return RATE_1M;
    }
}

/* A 40-track medium in a 1.2M drive: two steps a cylinder; the wide tracks are read from both. */
static unsigned
tracks_per_cylinder (const FdcDrive *d)
{
  return d->type == DRIVE_1200K && d->format->cylinders <= 42 ? 2 : 1;
}

bool
fdc_drive_readable (const FdcDrive *d, unsigned head, bool mfm, uint8_t *cylinder)
{
  if (!d->format || !mfm || head >= d->format->heads)
    return false;
  if (d->fdc->rate_known && !d->fdc->any_rate && (d->fdc->dsr & DSR_RATE) != medium_rate (d))
    return false;
  *cylinder = d->track / tracks_per_cylinder (d);
  return *cylinder < d->format->cylinders;
}

/* ---- Rotation ---- */

int64_t
fdc_drive_rotation (const FdcDrive *d)
{
  if (d->fdc->fast)
    return ROTATION_FAST;
  return d->type == DRIVE_1200K ? ROTATION_360_RPM : ROTATION_300_RPM;
}

int64_t
fdc_drive_next_slot (const FdcDrive *d, unsigned n, unsigned slots)
{
  int64_t now = tn_device_now (d->fdc->device), rotation = fdc_drive_rotation (d);
  int64_t when = now - now % rotation + rotation * n / slots;
  return when < now ? when + rotation : when;
}

/* ---- Seeking ---- */

/* SPECIFY's step rate is in units of 0.5 ms at 1 Mb/s. */
static int64_t
step_time (const FdcDrive *d)
{
  static const unsigned kilobits[4] = { 500, 300, 250, 1000 };
  unsigned units = 16 - (d->fdc->specify[0] >> 4);
  if (d->fdc->fast)
    return STEP_FAST;
  return units * 500 * TN_NS_PER_US * 1000 / kilobits[d->fdc->dsr & DSR_RATE];
}

void
fdc_drive_seek (FdcDrive *d, unsigned steps, bool in, uint8_t pcn)
{
  d->seeking = true;
  d->ended = false;
  d->calibrate = d->implied = false;
  d->seek_steps = steps;
  d->seek_in = in;
  d->seek_pcn = pcn;
  d->seek_due = tn_device_now (d->fdc->device) + SEEK_OVERHEAD + steps * step_time (d);
  tn_timer_set (d->seek_timer, d->seek_due);
}

/* Steps outward until the drive says TRACK0, which one that is not there never does. */
void
fdc_drive_recalibrate (FdcDrive *d)
{
  unsigned steps = d->block ? MIN (d->track, RECALIBRATE_STEPS) : RECALIBRATE_STEPS;
  fdc_drive_seek (d, steps, false, 0);
  d->calibrate = true;
}

bool
fdc_drive_implied_seek (FdcDrive *d, uint8_t cylinder)
{
  unsigned wide = d->format ? tracks_per_cylinder (d) : 1;
  unsigned to = cylinder, from = d->pcn;
  if (!d->fdc->configured)
    {
      to = cylinder * wide;
      from = d->track;
      if (!d->format || cylinder >= d->format->cylinders || d->track / wide == cylinder)
        return false;
    }
  else if (!(d->fdc->configure & CONFIGURE_IMPLIED_SEEK) || cylinder == d->pcn)
    return false;
  fdc_drive_seek (d, to > from ? to - from : from - to, to > from, to);
  d->implied = true;
  return true;
}

static void
seek_event (void *self, void *data)
{
  FdcDrive *d = data;
  if (!d->seeking)
    return;
  d->seeking = false;
  if (d->seek_in)
    d->track = MIN (d->track + d->seek_steps, last_track (d));
  else
    d->track = d->track > d->seek_steps ? d->track - d->seek_steps : 0;
  if (d->seek_steps && d->block && tn_block_info (d->block).present)
    d->changed = false;
  d->pcn = d->seek_pcn;
  d->seek_status = ST0_SE | d->number;
  if (d->calibrate && (d->track || !d->block))
    d->seek_status |= ST0_ABNORMAL | ST0_EC;
  fdc_seek_ended (d);
}

/* ---- Life cycle ---- */

static FdcDriveType
choose_type (const FdcDrive *d, FdcDriveType wanted)
{
  TnBlockInfo info = tn_block_info (d->block);
  const FdcFormat *format = info.present ? find_format (info.size) : NULL;
  if (wanted != DRIVE_AUTO)
    return wanted;
  return format ? format->drive : DRIVE_1440K;
}

bool
fdc_drive_init (FdcDrive *d, Fdc *f, unsigned number, GError **error)
{
  static const char *const timers[FDC_DRIVES] = { "seek 0", "seek 1", "seek 2", "seek 3" };
  bool connector = number < FDC_CONNECTORS;
  FdcDriveType type = connector ? f->types[number] : DRIVE_NONE;
  const char *link = connector ? f->links[number] : NULL;
  d->fdc = f;
  d->number = number;
  d->seek_timer = tn_device_timer_new (f->device, timers[number], seek_event, d);
  if (type == DRIVE_NONE && link)
    return tn_device_fail (f->device, error, TN_ERROR_CONFIG,
                           "drive-%c has an image (%s) and the type none", 'a' + number, link);
  if (type == DRIVE_NONE || (type == DRIVE_AUTO && !link))
    return true;
  d->block = tn_device_block (f->device, link, medium_changed, d, error);
  if (!d->block)
    return false;
  d->type = choose_type (d, type);
  d->changed = true;
  look_at_medium (d, !tn_device_swapping (f->device));
  return true;
}

void
fdc_drive_reset (FdcDrive *d)
{
  tn_timer_cancel (d->seek_timer);
  d->seeking = d->ended = d->implied = d->calibrate = false;
  d->seek_due = TN_TIME_NEVER;
  d->seek_steps = d->seek_pcn = d->seek_status = 0;
  d->seek_in = false;
}

/* An automatic drive stays what its first medium made it, whatever is in it by now. */
static bool
restore_type (FdcDrive *d)
{
  FdcDriveType wanted = d->number < FDC_CONNECTORS ? d->fdc->types[d->number] : DRIVE_NONE;
  if (!d->block)
    d->type = DRIVE_NONE;
  else if (wanted != DRIVE_AUTO)
    d->type = wanted;
  else if (d->type == DRIVE_NONE || d->type >= DRIVE_AUTO)
    return false;
  if (d->block)
    look_at_medium (d, false);
  return true;
}

bool
fdc_drive_restored (FdcDrive *d)
{
  int64_t now = tn_device_now (d->fdc->device);
  if (!restore_type (d))
    return false;
  if (d->track > FDC_LAST_TRACK || (d->seeking && d->ended)
      || (d->seeking && (d->seek_due - now > 60 * TN_NS_PER_S || d->seek_due < 0)))
    return false;
  if (d->seeking)
    tn_timer_set (d->seek_timer, d->seek_due);
  return true;
}
