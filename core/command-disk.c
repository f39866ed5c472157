/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tenon disk: images of disks.  What a format is, its plugin knows; see disk.h.
 *
 * Long work shows how far it is on a terminal, and ends in order at SIGINT, SIGTERM and SIGHUP.
 * Files appear under their names when they are whole.  ORDER: disk commands (tenon-disk.1)
 */
#include "disk.h"
#include "options.h"
#include "suggest.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- What all of them share ---- */

static volatile sig_atomic_t stop_signal;

static void
note_signal (int number)
{
  stop_signal = number;
}

static void
catch_signals (void)
{
  struct sigaction action = { .sa_handler = note_signal, .sa_flags = SA_RESETHAND };

  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  sigaction (SIGHUP, &action, NULL);
}

typedef struct {
  const char *path;
  bool terminal;
  int shown; /* per cent, or -1 */
  bool quiet;
} Watch;

static bool
watch_progress (void *data, uint64_t done, uint64_t total)
{
  Watch *w = data;
  int percent = total ? (double) done * 100 / total : 100;

  if (w->terminal && percent != w->shown)
    fprintf (stderr, "\r%3d %%", percent);
  w->shown = percent;
  return stop_signal == 0;
}

static void
watch_end (Watch *w)
{
  if (w->terminal && w->shown >= 0)
    fputs ("\r      \r", stderr);
  w->shown = -1;
}

static void
watch_found (void *data, TnImageFinding finding, const char *text)
{
  static const char *const words[] = { [TN_IMAGE_REPAIRED] = "repaired",
                                       [TN_IMAGE_NOTE] = "note",
                                       [TN_IMAGE_DAMAGE] = "damaged",
                                       [TN_IMAGE_LOSS] = "error" };
  Watch *w = data;

  watch_end (w);
  if (!w->quiet || finding == TN_IMAGE_DAMAGE || finding == TN_IMAGE_LOSS)
    printf ("%s: %s: %s\n", w->path, words[finding], text);
}

static TnImageMonitor
watch_start (Watch *w, const char *path, bool quiet)
{
  *w = (Watch){
    .path = path, .terminal = !quiet && isatty (STDERR_FILENO), .shown = -1, .quiet = quiet
  };
  return (TnImageMonitor){ .data = w, .progress = watch_progress, .found = watch_found };
}

static int
report (const GError *error)
{
  int code = error->domain == TN_ERROR && error->code == TN_ERROR_CONFIG ? EX_USAGE
                                                                         : tn_command_code (error);

  if (stop_signal != 0)
    code = 128 + stop_signal;
  return tn_command_fail (code, "%s", error->message);
}

/* The format of an image that is there: as told, or by its contents. */
static const TnDiskFormat *
format_of (const GPtrArray *formats, const char *name, const char *path, GError **error)
{
  return name ? tn_disk_format_named (formats, name, error)
              : tn_disk_format_of (formats, path, error);
}

/* An address ("nbd://...") is no file that could be missing. */
static bool
missing (const char *path, int *code)
{
  if (strstr (path, "://") != NULL || access (path, R_OK) == 0)
    return false;
  *code = tn_command_fail (EX_NOINPUT, "cannot read %s: %s", path, g_strerror (errno));
  return true;
}

#define OPTION_FORMAT(var)                                                                         \
  {                                                                                                \
    "format", 'f', "FORMAT", "format of the image; otherwise it is recognized", TN_OPTION_STRING,  \
        &(var)                                                                                     \
  }
#define OPTION_SET(var)                                                                            \
  {                                                                                                \
    "set", 's', "PROPERTY=VALUE", "set a property of the format's plugin; may be repeated",        \
        TN_OPTION_STRINGS, var                                                                     \
  }
#define OPTION_PLUGINS(var)                                                                        \
  {                                                                                                \
    "plugin-path", 'P', "DIR", "look for plugins here first; may be repeated", TN_OPTION_STRINGS,  \
        var                                                                                        \
  }
#define OPTION_QUIET(var)                                                                          \
  {                                                                                                \
    "quiet", 'q', NULL, "print errors alone", TN_OPTION_FLAG, &(var)                               \
  }

/* ---- create, convert: a new image ---- */

typedef struct {
  const char *format, *type, *block_size, *parent;
  bool exact, force, quiet;
} NewImage;

#define OPTIONS_NEW(n)                                                                                 \
  { "format",         'f',        "FORMAT", "format of the new image; otherwise its suffix tells",     \
    TN_OPTION_STRING, &(n).format },                                                                   \
      { "type", 't', "TYPE", "kind of image, such as fixed or dynamic", TN_OPTION_STRING, &(n).type }, \
      { "block-size", 'b', "SIZE", "unit of allocation", TN_OPTION_STRING, &(n).block_size },          \
      { "exact",        'e',       NULL, "do not round the size up to what a geometry can say",        \
        TN_OPTION_FLAG, &(n).exact },                                                                  \
  {                                                                                                    \
    "force", 'F', NULL, "replace a file that is there", TN_OPTION_FLAG, &(n).force                     \
  }

static const TnDiskFormat *
format_for (const GPtrArray *formats, const NewImage *n, const char *path, GError **error)
{
  const TnDiskFormat *f = n->format ? tn_disk_format_named (formats, n->format, error)
                                    : tn_disk_format_for (formats, path, error);

  if (f == NULL || f->plugin->image_ops->create != NULL)
    return f;
  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s: images of the format \"%s\" cannot be made",
               path, f->name);
  return NULL;
}

static bool
check_type (const TnDiskFormat *f, const char *type, GError **error)
{
  const char *const *types = f->plugin->image_ops->types;
  g_autofree char *all = types ? g_strjoinv (", ", (char **) types) : NULL;

  if (type == NULL || (types != NULL && g_strv_contains (types, type)))
    return true;
  if (types != NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "--type: expected one of %s, found \"%s\"", all,
                 type);
  else
    g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "--type: the format \"%s\" has no types",
                 f->name);
  return false;
}

static bool
make_image (const TnDiskFormat *f, const NewImage *n, const TnDiskTarget *target, uint64_t size,
            GError **error)
{
  g_autofree char *parent = n->parent ? g_canonicalize_filename (n->parent, NULL) : NULL;
  TnImageSpec spec = {
    .path = target->making, .size = size, .type = n->type, .parent = parent, .exact = n->exact
  };
  uint64_t block_size = 0;

  if (n->block_size != NULL
      && (!tn_disk_parse_size (n->block_size, &block_size) || block_size > G_MAXUINT32))
    {
      g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
                   "--block-size: expected a size such as 2M, found \"%s\"", n->block_size);
      return false;
    }
  spec.block_size = block_size;
  if (g_strcmp0 (parent, target->path) == 0)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s cannot be its own parent", parent);
      return false;
    }
  return check_type (f, n->type, error) && f->plugin->image_ops->create (&spec, error);
}

static const TnUsage create_usage = {
  .name = "disk create",
  .synopsis = "tenon disk create [OPTIONS] FILE [SIZE]",
  .summary = "Makes an empty image. SIZE is in bytes, or with K, M, G or T; a difference to a\n"
             "parent has the parent's size.",
  .examples = "  tenon disk create hd.vhd 10G\n"
              "  tenon disk create --type fixed hd.vhd 500M\n"
              "  tenon disk create --parent base.vhd hd.vhd\n"
              "  tenon disk create hd.img 2G\n",
  .min = 1,
  .max = 2,
};

static int
create (const GPtrArray *operands, const NewImage *n)
{
  g_autoptr (GPtrArray) formats = tn_disk_formats ();
  g_autoptr (GError) error = NULL;
  g_autoptr (TnDiskTarget) target = NULL;
  const char *path = operands->pdata[0];
  const TnDiskFormat *f = format_for (formats, n, path, &error);
  uint64_t size = 0;

  if (operands->len > 1 && (!tn_disk_parse_size (operands->pdata[1], &size) || size == 0))
    return tn_command_fail (EX_USAGE, "expected a size such as 512M or 10G, found \"%s\"",
                            (char *) operands->pdata[1]);
  if (operands->len == 1 && n->parent == NULL)
    return tn_command_fail (EX_USAGE, "disk create: a size is missing, such as 10G");
  if (f == NULL)
    return report (error);
  target = tn_disk_target_new (path, n->force, &error);
  if (target == NULL)
    return tn_command_fail (EX_CANTCREAT, "%s", error->message);
  if (!make_image (f, n, target, size, &error) || !tn_disk_target_finish (target, &error))
    return report (error);
  return EX_OK;
}

static int
command_create (int argc, char **argv)
{
  g_autoptr (GPtrArray) operands = g_ptr_array_new (), directories = g_ptr_array_new ();
  NewImage n = { NULL };
  const TnOption options[] = {
    OPTIONS_NEW (n),
    { "parent", 'p', "FILE", "make a difference to this image", TN_OPTION_STRING, &n.parent },
    OPTION_PLUGINS (directories),
    { NULL },
  };
  int code = tn_options_parse (&create_usage, options, argc, argv, operands);

  if (code >= 0)
    return code;
  tn_command_plugin_path (directories);
  return create (operands, &n);
}

static const TnUsage convert_usage = {
  .name = "disk convert",
  .synopsis = "tenon disk convert [OPTIONS] FROM TO",
  .summary = "Copies a disk into a new image of another format or type. With a differencing image\n"
             "as FROM, what its parents hold is copied, too. FROM may be an NBD address.",
  .examples = "  tenon disk convert hd.img hd.vhd\n"
              "  tenon disk convert --type fixed hd.vhd fixed.vhd\n"
              "  tenon disk convert nbd+unix:///?socket=/tmp/nbd hd.vhd\n",
  .min = 2,
  .max = 2,
};

static bool
fill (TnDisk *from, const TnDiskFormat *f, const TnDiskTarget *target, bool quiet, GError **error)
{
  g_autoptr (TnDisk) to = tn_disk_open (f, target->making, true, NULL, error);
  Watch watch;
  TnImageMonitor monitor = watch_start (&watch, target->path, quiet);
  bool done = to != NULL && tn_disk_copy (from, to, &monitor, error);

  watch_end (&watch);
  return done;
}

static bool
convert (TnDisk *from, const TnDiskFormat *f, const NewImage *n, TnDiskTarget *target,
         GError **error)
{
  return make_image (f, n, target, from->info.size, error)
         && fill (from, f, target, n->quiet, error) && tn_disk_target_finish (target, error);
}

static int
command_convert (int argc, char **argv)
{
  g_autoptr (GPtrArray) operands = g_ptr_array_new (), directories = g_ptr_array_new ();
  g_autoptr (GPtrArray) sets = g_ptr_array_new (), formats = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (TnDiskTarget) target = NULL;
  g_autoptr (TnDisk) from = NULL;
  const TnDiskFormat *source, *f;
  const char *source_format = NULL;
  NewImage n = { NULL };
  const TnOption options[] = {
    OPTIONS_NEW (n),
    { "from-format", 'S', "FORMAT", "format of FROM; otherwise it is recognized", TN_OPTION_STRING,
      &source_format },
    OPTION_SET (sets),
    OPTION_PLUGINS (directories),
    OPTION_QUIET (n.quiet),
    { NULL },
  };
  int code = tn_options_parse (&convert_usage, options, argc, argv, operands);

  if (code >= 0 || missing (operands->pdata[0], &code))
    return code;
  tn_command_plugin_path (directories);
  catch_signals ();
  formats = tn_disk_formats ();
  source = format_of (formats, source_format, operands->pdata[0], &error);
  f = source ? format_for (formats, &n, operands->pdata[1], &error) : NULL;
  from = f ? tn_disk_open (source, operands->pdata[0], false, sets, &error) : NULL;
  if (from == NULL)
    return report (error);
  target = tn_disk_target_new (operands->pdata[1], n.force, &error);
  if (target == NULL)
    return tn_command_fail (EX_CANTCREAT, "%s", error->message);
  return convert (from, f, &n, target, &error) ? EX_OK : report (error);
}

/* ---- info, check, commit, discard: images that are there ---- */

typedef struct {
  const char *format;
  GPtrArray *sets, *formats;
  bool repair, quiet;
} Each;

static void
tell (void *data, const char *name, const char *value)
{
  g_autofree char *label = g_strconcat (name, ":", NULL);

  printf ("  %-16s %s\n", label, value);
}

static void
tell_size (const char *name, uint64_t bytes)
{
  static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
  unsigned unit = 0;
  double number = bytes;
  g_autofree char *text = NULL;

  for (; number >= 1024 && unit + 1 < G_N_ELEMENTS (units); unit++)
    number /= 1024;
  text = g_strdup_printf ("%.*f %s (%" G_GUINT64_FORMAT " bytes)", unit ? 1 : 0, number,
                          units[unit], bytes);
  tell (NULL, name, text);
}

static int
info (const Each *e, const char *path)
{
  g_autoptr (GError) error = NULL;
  const TnDiskFormat *f = format_of (e->formats, e->format, path, &error);
  g_autoptr (TnDisk) disk = f ? tn_disk_open (f, path, false, e->sets, &error) : NULL;
  struct stat st;

  if (disk == NULL)
    return report (error);
  printf ("%s\n", path);
  tell (NULL, "format", f->name);
  tell_size ("size", disk->info.size);
  if (stat (path, &st) == 0)
    tell_size ("takes", (uint64_t) st.st_blocks * 512);
  if (disk->image->info != NULL)
    disk->image->info (disk->self, tell, NULL);
  return EX_OK;
}

/* A format that cannot check itself can at least be opened. */
static bool
check_image (const Each *e, const TnDiskFormat *f, const char *path, const TnImageMonitor *monitor,
             GError **error)
{
  const TnImageOps *image = f->plugin->image_ops;
  g_autoptr (TnDisk) disk = NULL;

  if (image->check != NULL)
    return image->check (path, e->repair, monitor, error);
  disk = tn_disk_open (f, path, false, e->sets, error);
  return disk != NULL;
}

static int
check (const Each *e, const char *path)
{
  g_autoptr (GError) error = NULL;
  const TnDiskFormat *f = format_of (e->formats, e->format, path, &error);
  Watch watch;
  TnImageMonitor monitor = watch_start (&watch, path, e->quiet);
  bool fine = f != NULL && check_image (e, f, path, &monitor, &error);

  watch_end (&watch);
  if (error != NULL)
    return report (error);
  if (!fine)
    return tn_command_fail (EX_DATAERR, "%s is damaged%s", path,
                            e->repair ? " beyond repair" : "; --repair mends what can be");
  if (!e->quiet)
    printf ("%s: no errors\n", path);
  return EX_OK;
}

/* Opens for writing what is then committed or discarded. */
static TnDisk *
open_difference (const Each *e, const char *path, GError **error)
{
  const TnDiskFormat *f = format_of (e->formats, e->format, path, error);

  if (f == NULL)
    return NULL;
  if (f->plugin->image_ops->commit != NULL && f->plugin->image_ops->discard != NULL)
    return tn_disk_open (f, path, true, e->sets, error);
  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s: images of the format \"%s\" have no parents",
               path, f->name);
  return NULL;
}

static int
commit (const Each *e, const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (TnDisk) disk = open_difference (e, path, &error);
  Watch watch;
  TnImageMonitor monitor = watch_start (&watch, path, e->quiet);
  bool fine = disk != NULL && disk->image->commit (disk->self, &monitor, &error);

  watch_end (&watch);
  return fine ? EX_OK : report (error);
}

static int
discard (const Each *e, const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (TnDisk) disk = open_difference (e, path, &error);

  return disk != NULL && disk->image->discard (disk->self, &error) ? EX_OK : report (error);
}

static int
for_each (const TnUsage *usage, int argc, char **argv, int (*func) (const Each *, const char *))
{
  g_autoptr (GPtrArray) operands = g_ptr_array_new (), directories = g_ptr_array_new ();
  g_autoptr (GPtrArray) sets = g_ptr_array_new (), formats = NULL;
  Each e = { .sets = sets };
  const TnOption options[] = {
    OPTION_FORMAT (e.format),
    OPTION_SET (sets),
    OPTION_PLUGINS (directories),
    OPTION_QUIET (e.quiet),
    { func == check ? "repair" : NULL, 'r', NULL, "put right what can be without guessing",
      TN_OPTION_FLAG, &e.repair },
    { NULL },
  };
  int code = tn_options_parse (usage, options, argc, argv, operands), worst = EX_OK;

  if (code >= 0)
    return code;
  tn_command_plugin_path (directories);
  catch_signals ();
  e.formats = formats = tn_disk_formats ();
  for (guint i = 0; i < operands->len && stop_signal == 0; i++)
    {
      if (!missing (operands->pdata[i], &code))
        code = func (&e, operands->pdata[i]);
      worst = MAX (worst, code);
    }
  return worst;
}

static const TnUsage info_usage = {
  .name = "disk info",
  .synopsis = "tenon disk info [OPTIONS] FILE...",
  .summary = "Tells what images are: format, size, parents.",
  .examples = "  tenon disk info hd.vhd\n",
  .min = 1,
  .max = G_MAXINT,
};

static const TnUsage check_usage = {
  .name = "disk check",
  .synopsis = "tenon disk check [OPTIONS] FILE...",
  .summary = "Looks for what is wrong with images.",
  .examples = "  tenon disk check hd.vhd\n  tenon disk check --repair hd.vhd\n",
  .min = 1,
  .max = G_MAXINT,
};

static const TnUsage commit_usage = {
  .name = "disk commit",
  .synopsis = "tenon disk commit [OPTIONS] FILE",
  .summary = "Writes what a differencing image or undo disk keeps into its parent, and empties it.",
  .examples = "  tenon disk commit hd.vud\n  tenon disk commit --set parent=hd.img hd.vud\n",
  .min = 1,
  .max = 1,
};

static const TnUsage discard_usage = {
  .name = "disk discard",
  .synopsis = "tenon disk discard [OPTIONS] FILE",
  .summary = "Empties a differencing image or undo disk: the disk is as its parent again.",
  .examples = "  tenon disk discard hd.vud\n",
  .min = 1,
  .max = 1,
};

static int
command_info (int argc, char **argv)
{
  return for_each (&info_usage, argc, argv, info);
}

static int
command_check (int argc, char **argv)
{
  return for_each (&check_usage, argc, argv, check);
}

static int
command_commit (int argc, char **argv)
{
  return for_each (&commit_usage, argc, argv, commit);
}

static int
command_discard (int argc, char **argv)
{
  return for_each (&discard_usage, argc, argv, discard);
}

/* ---- tenon disk ---- */

static const struct {
  const char *name;
  int (*func) (int argc, char **argv);
  const char *help;
} commands[] = {
  { "create", command_create, "make an empty image" },
  { "info", command_info, "what an image is" },
  { "check", command_check, "what is wrong with an image" },
  { "commit", command_commit, "changes into the parent" },
  { "discard", command_discard, "throw changes away" },
  { "convert", command_convert, "copy into another format" },
};

static int
help (void)
{
  puts ("Usage: tenon disk COMMAND [OPTIONS] ...\n\nMakes and looks after images of disks."
        "\n\nCommands:");
  for (unsigned i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-10s %s\n", commands[i].name, commands[i].help);
  puts ("\ntenon disk COMMAND --help tells more of each.\n\nExamples:\n"
        "  tenon disk create hd.vhd 10G\n"
        "  tenon disk info hd.vhd\n"
        "  tenon disk convert hd.img hd.vhd");
  return EX_OK;
}

int
tn_command_disk (int argc, char **argv)
{
  const char *names[G_N_ELEMENTS (commands) + 1] = { NULL };
  g_autofree char *near = NULL;

  if (argc < 2)
    return tn_command_fail (EX_USAGE, "disk: a command is missing; try: tenon disk --help");
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0)
    return help ();
  for (unsigned i = 0; i < G_N_ELEMENTS (commands); i++)
    {
      if (strcmp (argv[1], commands[i].name) == 0)
        return commands[i].func (argc - 1, argv + 1);
      names[i] = commands[i].name;
    }
  near = tn_suggest_text (argv[1], names);
  return tn_command_fail (EX_USAGE, "disk: there is no command \"%s\"%s; try: tenon disk --help",
                          argv[1], near);
}
