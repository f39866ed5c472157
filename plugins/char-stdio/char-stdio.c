/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character back end on the program's standard input and output.
 *
 * A terminal is put into raw mode while the machine runs, so that every key goes to the guest,
 * except for an escape key (Ctrl-A) and the letter after it:
 *
 *   x  power off and leave    r  reset the machine     z  suspend Tenon (shell job control)
 *   h  help                   Ctrl-A  the key itself
 *
 * Raw mode begins with the first event of the running machine, so that messages of the start come
 * out well.  A timer puts it back after a stop (SIGTSTP) and continuation from outside.  Over a
 * swap the terminal stays raw; the mode to go back to is handed over in a memory file.  Without a
 * terminal, bytes pass as they are; the end of input is silent and the machine goes on.
 */
#define _GNU_SOURCE
#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define CHECK_INTERVAL (TN_NS_PER_S / 2)
#define WRITE_CHUNK    256 /* what a terminal takes without blocking when poll () says so */

typedef struct {
  TnDevice *device;
  uint32_t escape_key;
  bool signals;

  bool terminal, raw;
  struct termios cooked, wanted;
  TnTimer *timer;
  TnWatch *input, *output;
  bool output_failed;

  /* Read from the terminal, not yet taken by the front end. */
  uint8_t pending[256];
  uint16_t pending_count;
  bool escaped; /* the escape key was the last */
} Stdio;

/* ---- Terminal modes ---- */

/* A background job that changes the terminal would be stopped. */
static bool
in_foreground (void)
{
  return tcgetpgrp (STDIN_FILENO) == getpgrp ();
}

/* For a successor: the mode that the terminal had before. */
static void
remember_cooked (Stdio *s)
{
  int fd = memfd_create ("terminal", MFD_CLOEXEC);
  if (fd >= 0 && write (fd, &s->cooked, sizeof s->cooked) == sizeof s->cooked)
    tn_device_keep_fd (s->device, "terminal", fd);
  else if (fd >= 0)
    close (fd);
}

static void
inherit_cooked (Stdio *s)
{
  int fd = tn_device_take_fd (s->device, "terminal");
  if (fd < 0 || pread (fd, &s->cooked, sizeof s->cooked, 0) != sizeof s->cooked)
    return;
  s->raw = !tcgetattr (STDIN_FILENO, &s->wanted);
}

static void
make_raw (Stdio *s)
{
  struct termios now;
  if (!s->terminal || !in_foreground () || tcgetattr (STDIN_FILENO, &now))
    return;
  if (s->raw && now.c_lflag == s->wanted.c_lflag && now.c_iflag == s->wanted.c_iflag)
    return;
  s->cooked = s->wanted = now;
  cfmakeraw (&s->wanted);
  s->wanted.c_oflag = now.c_oflag;
  if (s->signals)
    s->wanted.c_lflag |= ISIG;
  s->raw = !tcsetattr (STDIN_FILENO, TCSANOW, &s->wanted);
  remember_cooked (s);
}

static void
make_cooked (Stdio *s)
{
  if (s->raw && in_foreground ())
    tcsetattr (STDIN_FILENO, TCSADRAIN, &s->cooked);
  s->raw = false;
}

static void
check_terminal (void *self, void *data)
{
  Stdio *s = self;
  make_raw (s);
  if (s->terminal)
    tn_timer_set (s->timer, tn_device_now (s->device) + CHECK_INTERVAL);
}

/* ---- Output ---- */

/* Returns how many bytes went out without blocking. */
static size_t
write_some (Stdio *s, const uint8_t *bytes, size_t size)
{
  size_t done = 0;
  while (done < size && !s->output_failed)
    {
      struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
      ssize_t n;
      if (poll (&p, 1, 0) == 0)
        return done;
      n = write (STDOUT_FILENO, bytes + done, MIN (size - done, WRITE_CHUNK));
      if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return done;
      if (n < 0)
        {
          tn_device_log (s->device, TN_LOG_WARNING, "standard output is gone: %s",
                         g_strerror (errno));
          s->output_failed = true;
        }
      else
        done += n;
    }
  return s->output_failed ? size : done;
}

static void
output_ready (void *self, int fd, unsigned condition, void *data)
{
  Stdio *s = self;
  tn_watch_set_condition (s->output, 0);
  tn_device_char_writable (s->device);
}

static size_t
stdio_send (void *self, const uint8_t *bytes, size_t size)
{
  Stdio *s = self;
  size_t done = write_some (s, bytes, size);
  if (done < size)
    {
      if (!s->output)
        s->output = tn_device_watch_fd (s->device, STDOUT_FILENO, G_IO_OUT, output_ready, NULL);
      tn_watch_set_condition (s->output, G_IO_OUT);
    }
  return done;
}

/* ---- Escape key ---- */

static void
say (Stdio *s, const char *text)
{
  write_some (s, (const uint8_t *) text, strlen (text));
}

static void
help (Stdio *s)
{
  g_autofree char *text = g_strdup_printf ("\nTenon: Ctrl-%c then  x  power off and leave\n"
                                           "                     r  reset the machine\n"
                                           "                     z  suspend Tenon\n"
                                           "                     h  this help\n"
                                           "                Ctrl-%c  the key itself\n",
                                           s->escape_key + '@', s->escape_key + '@');
  say (s, text);
}

/* Stops the job as Ctrl-Z does; when this returns it has been continued. */
static void
suspend (Stdio *s)
{
  make_cooked (s);
  kill (0, SIGTSTP);
  make_raw (s);
}

/* Carries out what follows the escape key; returns whether the byte goes to the guest. */
static bool
escape (Stdio *s, uint8_t byte)
{
  if (byte == s->escape_key)
    return true;
  switch (byte | 0x20)
    {
    case 'x':
      tn_device_request_poweroff (s->device);
      break;
    case 'r':
      tn_device_request_reset (s->device, TN_RESET_HARD);
      break;
    case 'z':
      suspend (s);
      break;
    default:
      help (s);
      break;
    }
  return false;
}

/* Takes escape sequences out of the bytes, in place; returns how many are left. */
static size_t
filter (Stdio *s, uint8_t *bytes, size_t size)
{
  size_t kept = 0;
  if (!s->escape_key || !s->terminal)
    return size;
  for (size_t i = 0; i < size; i++)
    {
      uint8_t byte = bytes[i];
      if (!s->escaped && byte == s->escape_key)
        {
          s->escaped = true;
          continue;
        }
      if (!s->escaped || escape (s, byte))
        bytes[kept++] = byte;
      s->escaped = false;
    }
  return kept;
}

/* ---- Input ---- */

/* Gives what waits to the front end; returns whether all of it is gone. */
static bool
deliver (Stdio *s)
{
  size_t taken = tn_device_char_receive (s->device, s->pending, s->pending_count);
  taken = MIN (taken, s->pending_count);
  s->pending_count -= taken;
  memmove (s->pending, s->pending + taken, s->pending_count);
  return !s->pending_count;
}

static void
input_ended (Stdio *s)
{
  tn_watch_free (s->input);
  s->input = NULL;
}

static void
input_ready (void *self, int fd, unsigned condition, void *data)
{
  Stdio *s = self;
  ssize_t n;
  if (s->pending_count)
    {
      tn_watch_set_condition (s->input, 0);
      return;
    }
  n = read (STDIN_FILENO, s->pending, sizeof s->pending);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0)
    {
      input_ended (s);
      return;
    }
  s->pending_count = filter (s, s->pending, n);
  if (!deliver (s))
    tn_watch_set_condition (s->input, 0);
}

static void
stdio_accept (void *self)
{
  Stdio *s = self;
  if (deliver (s) && s->input)
    tn_watch_set_condition (s->input, G_IO_IN);
}

/* ---- Life cycle ---- */

static bool
is_open (int fd)
{
  return fcntl (fd, F_GETFD) >= 0;
}

static bool
stdio_realize (void *self, GError **error)
{
  Stdio *s = self;
  s->terminal = isatty (STDIN_FILENO);
  if (s->terminal)
    inherit_cooked (s);
  s->timer = tn_device_timer_new (s->device, "terminal", check_terminal, NULL);
  if (is_open (STDIN_FILENO))
    s->input = tn_device_watch_fd (s->device, STDIN_FILENO, G_IO_IN, input_ready, NULL);
  s->output_failed = !is_open (STDOUT_FILENO);
  tn_device_char_connected (s->device, true);
  return true;
}

static void
stdio_unrealize (void *self)
{
  Stdio *s = self;
  if (!tn_device_swapping (s->device))
    make_cooked (s);
}

static void
stdio_reset (void *self)
{
  Stdio *s = self;
  if (s->terminal)
    tn_timer_set (s->timer, tn_device_now (s->device));
}

static bool
stdio_restored (void *self, GError **error)
{
  Stdio *s = self;
  if (s->pending_count > sizeof s->pending)
    return tn_device_fail (s->device, error, TN_ERROR_STATE, "too many pending characters");
  if (s->pending_count && s->input)
    tn_watch_set_condition (s->input, 0);
  if (s->terminal)
    tn_timer_set (s->timer, tn_device_now (s->device));
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_UINT (Stdio, escape_key, "escape-key",
                "control character before a command, 1 (Ctrl-A) to 26; 0 for none", 1, 0, 26),
  TN_PROP_BOOL (Stdio, signals, "signals",
                "Ctrl-C and Ctrl-Z act on Tenon instead of going to the guest", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (Stdio, pending, 1),
  TN_FIELD (Stdio, pending_count, 1),
  TN_FIELD (Stdio, escaped, 1),
  TN_FIELD_END,
};

static const TnCharOps char_ops = { .send = stdio_send, .accept = stdio_accept };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "char-stdio",
  .summary = "Standard input and output, with raw terminal handling",
  .document = "termios(3)",
  .kind = TN_KIND_CHAR,
  .state_version = 1,
  .instance_size = sizeof (Stdio),
  .properties = props,
  .fields = fields,
  .ops = { .realize = stdio_realize,
           .unrealize = stdio_unrealize,
           .reset = stdio_reset,
           .restored = stdio_restored },
  .char_ops = &char_ops,
};
