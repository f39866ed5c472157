/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A look at a file before the dynamic linker maps it: dlopen () of a truncated or foreign object
 * may end in SIGBUS instead of an error.
 */
#include "internal.h"

#include <elf.h>

static bool
segments_inside (const uint8_t *bytes, size_t size, const Elf64_Ehdr *header)
{
  for (unsigned n = 0; n < header->e_phnum; n++)
    {
      Elf64_Phdr segment;

      memcpy (&segment, bytes + header->e_phoff + n * sizeof segment, sizeof segment);
      if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC)
        continue;
      if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset
          || segment.p_memsz < segment.p_filesz)
        return false;
    }
  return true;
}

const char *
tn_elf_refusal (const uint8_t *bytes, size_t size)
{
  Elf64_Ehdr header;

  if (size < sizeof header || memcmp (bytes, ELFMAG, SELFMAG) != 0)
    return "not a shared object";
  memcpy (&header, bytes, sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB
      || header.e_machine != EM_X86_64)
    return "not built for x86-64";
  if (header.e_type != ET_DYN || header.e_phentsize != sizeof (Elf64_Phdr))
    return "not a shared object";
  if (header.e_phoff > size || header.e_phnum > (size - header.e_phoff) / sizeof (Elf64_Phdr)
      || header.e_phnum == 0 || !segments_inside (bytes, size, &header))
    return "truncated";
  return NULL;
}
