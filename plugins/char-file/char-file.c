/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character back end that writes what the guest sends to a file, and may read what it receives from
 * another one.
 *
 * The output file is emptied when the machine is switched on, but not when the plugin is swapped or
 * a saved machine is continued: those go on at its end.  Input is read as fast as the front end
 * takes it; how far it got is saved.  Either may be a pipe or a character device.
 */
#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  TnDevice *device;
  const char *path, *input_path;
  bool append;

  int out, in;
  bool output_failed;
  TnTimer *timer;
  TnWatch *output, *input;

  bool started; /* the output file has been emptied, or need not be */
  uint64_t input_offset;
  uint8_t pending[256]; /* read, and not taken yet */
  uint16_t pending_count;
} File;

/* ---- Output ---- */

static void
start_output (File *f)
{
  if (!f->started && !f->append && ftruncate (f->out, 0) && errno != EINVAL)
    tn_device_log (f->device, TN_LOG_WARNING, "cannot empty %s: %s", f->path, g_strerror (errno));
  f->started = true;
}

static void
start (void *self, void *data)
{
  start_output (self);
}

static size_t
file_send (void *self, const uint8_t *bytes, size_t size)
{
  File *f = self;
  size_t done = 0;
  start_output (f);
  while (done < size && !f->output_failed)
    {
      ssize_t n = write (f->out, bytes + done, size - done);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        {
          tn_watch_set_condition (f->output, G_IO_OUT);
          return done;
        }
      if (n < 0)
        {
          tn_device_log (f->device, TN_LOG_ERROR, "output to %s ends here: %s", f->path,
                         g_strerror (errno));
          f->output_failed = true;
        }
      else
        done += n;
    }
  return size;
}

static void
output_ready (void *self, int fd, unsigned condition, void *data)
{
  File *f = self;
  tn_watch_set_condition (f->output, 0);
  tn_device_char_writable (f->device);
}

/* ---- Input ---- */

static bool
deliver (File *f)
{
  size_t taken = tn_device_char_receive (f->device, f->pending, f->pending_count);
  taken = MIN (taken, f->pending_count);
  f->pending_count -= taken;
  memmove (f->pending, f->pending + taken, f->pending_count);
  return !f->pending_count;
}

/* A file is read at its offset; what has none is read as it comes. */
static ssize_t
read_input (File *f)
{
  ssize_t n = pread (f->in, f->pending, sizeof f->pending, f->input_offset);
  if (n < 0 && errno == ESPIPE)
    n = read (f->in, f->pending, sizeof f->pending);
  return n;
}

static void
input_ready (void *self, int fd, unsigned condition, void *data)
{
  File *f = self;
  ssize_t n;
  if (f->pending_count)
    {
      tn_watch_set_condition (f->input, 0);
      return;
    }
  n = read_input (f);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      tn_watch_free (f->input);
      f->input = NULL;
      return;
    }
  f->input_offset += n;
  f->pending_count = n;
  if (!deliver (f))
    tn_watch_set_condition (f->input, 0);
}

static void
file_accept (void *self)
{
  File *f = self;
  if (deliver (f) && f->input)
    tn_watch_set_condition (f->input, G_IO_IN);
}

/* ---- Life cycle ---- */

static bool
open_input (File *f, GError **error)
{
  f->in = tn_device_take_fd (f->device, "input");
  if (f->in < 0)
    f->in = open (f->input_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f->in < 0)
    return tn_device_fail (f->device, error, TN_ERROR_IO, "cannot open %s: %s", f->input_path,
                           g_strerror (errno));
  tn_device_keep_fd (f->device, "input", f->in);
  f->input = tn_device_watch_fd (f->device, f->in, G_IO_IN, input_ready, NULL);
  return true;
}

/* Not blocking on a FIFO without a reader: opened for both directions. */
static bool
file_realize (void *self, GError **error)
{
  File *f = self;
  f->out = tn_device_take_fd (f->device, "output");
  if (f->out < 0)
    f->out
        = open (f->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
  if (f->out < 0 && errno == ENXIO)
    f->out = open (f->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f->out < 0)
    return tn_device_fail (f->device, error, TN_ERROR_IO, "cannot write %s: %s", f->path,
                           g_strerror (errno));
  tn_device_keep_fd (f->device, "output", f->out);
  f->timer = tn_device_timer_new (f->device, "start", start, NULL);
  f->output = tn_device_watch_fd (f->device, f->out, 0, output_ready, NULL);
  if (f->input_path && !open_input (f, error))
    return false;
  tn_device_char_connected (f->device, true);
  return true;
}

static void
file_reset (void *self)
{
  File *f = self;
  if (!f->started)
    tn_timer_set (f->timer, tn_device_now (f->device));
}

static bool
file_restored (void *self, GError **error)
{
  File *f = self;
  if (f->pending_count > sizeof f->pending)
    return tn_device_fail (f->device, error, TN_ERROR_STATE, "too many pending characters");
  if (f->input_offset > INT64_MAX)
    return tn_device_fail (f->device, error, TN_ERROR_STATE, "no such place in a file");
  file_reset (f);
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_FILE (File, path, "file", "file for what the guest sends", true),
  TN_PROP_FILE (File, input_path, "input", "file with what the guest receives", false),
  TN_PROP_BOOL (File, append, "append", "keep what the output file holds already", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (File, started, 1),
  TN_FIELD (File, input_offset, 1),
  TN_FIELD (File, pending, 1),
  TN_FIELD (File, pending_count, 1),
  TN_FIELD_END,
};

static const TnCharOps char_ops = { .send = file_send, .accept = file_accept };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "char-file",
  .summary = "Serial output to a file, input from a file",
  .document = "write(2)",
  .kind = TN_KIND_CHAR,
  .state_version = 1,
  .instance_size = sizeof (File),
  .properties = props,
  .fields = fields,
  .ops = { .realize = file_realize, .reset = file_reset, .restored = file_restored },
  .char_ops = &char_ops,
};
