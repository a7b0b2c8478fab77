# SPDX-License-Identifier: BSD-3-Clause
# patches/patchset and patches/debian-fetch, on a copy of the repository.
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = {'.git', '.cache', '__pycache__'}
IDENTITY = ['-c', 'user.name=A Tester', '-c', 'user.email=tester@example.org',
            '-c', 'commit.gpgsign=false']
BODY = 'why it is needed\n\nForwarded: not-needed'


def not_copied(directory, names):
    """Leave out what git ignores: trees of Meson and build directories."""
    directory = Path(directory)
    return {name for name in names
            if name in NOT_COPIED
            or (directory.name == 'subprojects'
                and name.startswith('libslirp-'))
            or (directory / name / 'meson-private').is_dir()}


def contents(directory):
    """Every file below a directory, by its path."""
    return {str(file.relative_to(directory)): file.read_bytes()
            for file in sorted(Path(directory).rglob('*'))
            if file.is_file() and file.name not in
            ('.patchset-stamp', '.meson-subproject-wrap-hash.txt')}


class PatchsetTest(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix='patchset-test-')
        self.addCleanup(temp.cleanup)
        self.temp = Path(temp.name)
        self.repo = self.temp / 'repo'
        shutil.copytree(ROOT, self.repo, symlinks=True, ignore=not_copied)
        self.patches = self.repo / 'patches' / 'libslirp'
        self.wrap = self.repo / 'subprojects' / 'libslirp.wrap'
        self.scratch = self.repo / '.cache' / 'patchset' / 'tree'
        self.version = re.search(r'^directory = libslirp-v(.*)$',
                                 self.wrap.read_text(), re.M).group(1)
        name = re.search(r'^source_filename = (.*)$',
                         self.wrap.read_text(), re.M).group(1)
        self.tarball = self.repo / 'subprojects' / 'packagecache' / name
        if not self.tarball.exists():
            self.skipTest(f'no {name}; run patches/patchset fetch')

    # What the tests do

    def run_in_repo(self, *command, cwd=None):
        env = {key: value for key, value in os.environ.items()
               if key != 'XDG_CACHE_HOME' and not key.startswith('GIT_')}
        return subprocess.run([str(part) for part in command], text=True,
                              cwd=cwd or self.repo, env=env, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)

    def do(self, *command, cwd=None):
        done = self.run_in_repo(*command, cwd=cwd)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def patchset(self, *args):
        return self.do('patches/patchset', *args)

    def refused(self, *args):
        """The patchset command fails; returns its one line of complaint."""
        done = self.run_in_repo('patches/patchset', *args)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        return done.stderr

    def faults(self):
        done = self.run_in_repo('patches/patchset', 'check')
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stderr

    def git(self, *args):
        return self.do('git', *IDENTITY, *args, cwd=self.scratch)

    def commit(self, message, file, text):
        with open(self.scratch / file, 'a', encoding='utf-8') as out:
            out.write(text)
        self.git('add', '-A')
        self.git('commit', '-q', '-m', message)

    def add_patch(self, message, file, text):
        """One more patch, by way of import and export; returns its file."""
        self.patchset('import')
        self.commit(message, file, text)
        self.patchset('export')
        return sorted(self.patches.glob('*.patch'))[-1]

    def series(self):
        return (self.patches / 'series').read_text().split()

    def need_fuzz(self):
        """Change an outer context line of the first patch; returns its name."""
        file = self.patches / self.series()[0]
        text = file.read_text()
        changed = re.sub(r'^(@@ .*\n .*)$', r'\1 and more', text, count=1,
                         flags=re.M)
        self.assertNotEqual(text, changed)
        file.write_text(changed)
        return file.name

    def tree(self, name):
        return self.repo / 'subprojects' / f'libslirp-{name}'

    def unpacked(self):
        with tarfile.open(self.tarball) as tar:
            tar.extraction_filter = getattr(tarfile, 'data_filter', None)
            tar.extractall(self.temp / 'release')
        return next((self.temp / 'release').iterdir())

    def make_release(self, version, change):
        """A made-up release in the package cache."""
        tree = self.unpacked()
        change(tree)
        name = self.tarball.name.replace(self.version, version)
        with tarfile.open(self.tarball.with_name(name), 'w:bz2') as tar:
            tar.add(tree, f'libslirp-v{version}')

    # The series

    def test_check_passes(self):
        """check finds no fault in the series"""
        output = self.patchset('check', '--compile')
        self.assertRegex(output, r'\+\d+ +-\d+  total in \d+ files')

    def test_round_trip(self):
        """import, then export, changes no byte"""
        before = contents(self.repo / 'patches'), self.wrap.read_bytes()
        self.patchset('import')
        self.patchset('export')
        after = contents(self.repo / 'patches'), self.wrap.read_bytes()
        self.assertEqual(before, after)

    def test_export_replaces(self):
        """export renames and drops patch files as the commits do"""
        file = self.add_patch(f'version: add one\n\n{BODY}',
                              'src/version.c', '/* one */\n')
        self.assertIn(f'libslirp/{file.name}', self.wrap.read_text())
        self.patchset('check')
        self.git('commit', '-q', '--amend', '-m',
                 f'version: add another\n\n{BODY}')
        self.patchset('export')
        self.assertFalse(file.exists())
        self.assertEqual(sorted(file.name for file in
                                self.patches.glob('*.patch')), self.series())
        self.git('reset', '-q', '--hard', 'HEAD^')
        self.patchset('export')
        self.assertEqual(contents(self.patches),
                         contents(ROOT / 'patches' / 'libslirp'))

    def test_export_refuses_half_done(self):
        """export refuses a dirty tree, an empty commit and a stale import"""
        self.assertIn('patchset import', self.refused('export'))
        self.patchset('import')
        (self.scratch / 'src' / 'new.c').touch()
        self.assertIn('in no commit', self.refused('export'))
        (self.scratch / 'src' / 'new.c').unlink()
        self.git('commit', '-q', '--allow-empty', '-m', 'empty: add nothing')
        self.assertIn('empty commit', self.refused('export'))
        self.git('reset', '-q', '--hard', 'HEAD^')
        self.need_fuzz()
        self.assertIn('has changed since', self.refused('export'))

    def test_import_keeps_work(self):
        """import does not throw away commits that are not exported"""
        self.patchset('import')
        self.commit('version: add one', 'src/version.c', '/* one */\n')
        self.assertIn('export them or delete', self.refused('import'))

    # The checks

    def test_fuzz(self):
        """a patch that needs fuzz is refused, though Meson would take it"""
        name = self.need_fuzz()
        taken = self.run_in_repo('patch', '-f', '-p1', '-i',
                                 self.patches / name, cwd=self.unpacked())
        self.assertEqual(taken.returncode, 0, taken.stdout)
        self.assertIn('fuzz', taken.stdout)
        self.assertRegex(self.faults(), rf'{name}: does not apply without fuzz')
        self.assertIn(name, self.refused('refresh'))
        self.assertFalse(self.tree(f'v{self.version}').exists())

    def test_header(self):
        """check names each fault of a patch's header and text"""
        name = self.add_patch('Version: Added a Comment.', 'src/version.c',
                              '/* blanks */ \n').name
        faults = self.faults()
        for fault in ('write "area: lower-case imperative"', 'no body',
                      'no Forwarded:, Origin: or Bug:',
                      'adds trailing blanks to src/version.c'):
            self.assertIn(f'{name}: ', faults)
            self.assertIn(fault, faults)
        self.git('commit', '-q', '--amend', '-m',
                 f'version: adding {"x" * 60}\n\n{BODY}')
        self.patchset('export')
        faults = self.faults()
        self.assertIn('use the imperative', faults)
        self.assertIn('subject of 76 characters', faults)

    def test_compile(self):
        """check --compile names the patch that lacks something"""
        self.add_patch(f'version: use what is not there\n\n{BODY}',
                       'src/version.c', 'int a(void) { return lacking(); }\n')
        message = self.refused('check', '--compile')
        self.assertRegex(message, r'does not compile: version.c:\d+: .*lacking')

    def test_agreement(self):
        """series, patch files and wrap have to agree"""
        (self.patches / '9999-stray.patch').touch()
        self.assertIn('9999-stray.patch: not in the series', self.faults())
        (self.patches / '9999-stray.patch').unlink()
        wrap = self.wrap.read_text()
        self.wrap.write_text(wrap.replace('0001-', '0009-'))
        self.assertIn('diff_files', self.faults())
        self.wrap.write_text(re.sub(r'(series-sha256 = ).*', r'\g<1>0', wrap))
        self.assertIn('series-sha256', self.faults())
        self.wrap.write_text(wrap)
        with open(self.patches / 'series', 'a', encoding='utf-8') as out:
            out.write('9999-lost.patch\n')
        self.assertIn('9999-lost.patch, which is not there', self.faults())

    # The release

    def test_wrong_hash(self):
        """a tarball with the wrong hash is put aside and not used"""
        right = hashlib.sha256(self.tarball.read_bytes()).hexdigest()
        with open(self.tarball, 'ab') as out:
            out.write(b'x')
        wrong = hashlib.sha256(self.tarball.read_bytes()).hexdigest()
        message = self.refused('fetch')
        self.assertIn(f'expected sha256 {right}, actual {wrong}', message)
        self.assertFalse(self.tarball.exists())
        self.assertTrue(Path(f'{self.tarball}.rejected').exists())

    def test_missing_tarball(self):
        """without the tarball the remedy is named"""
        self.tarball.unlink()
        for command in ('refresh', 'pristine'):
            self.assertRegex(self.refused(command, '--no-download'),
                             r'is missing; run "patches/patchset fetch"')

    def test_pristine(self):
        """pristine is the tarball, and is made again when the pin moves"""
        self.patchset('pristine')
        tree = self.tree('pristine')
        self.assertEqual(contents(tree), contents(self.unpacked()))
        stamp = tree / '.patchset-stamp'
        before = stamp.stat().st_mtime_ns
        self.patchset('pristine')
        self.assertEqual(stamp.stat().st_mtime_ns, before)
        self.make_release('99.1.0', lambda tree: (
            tree / 'README.md').write_text('another release\n'))
        self.patchset('bump', '99.1.0')
        self.patchset('pristine')
        self.assertEqual((tree / 'README.md').read_text(), 'another release\n')

    def test_bump(self):
        """bump moves the pin and takes the series along"""
        self.make_release('99.1.0', lambda tree: (
            tree / 'README.md').write_text('another release\n'))
        output = self.patchset('bump', '99.1.0')
        self.assertIn(f'from {self.version} to 99.1.0', output)
        wrap = self.wrap.read_text()
        self.assertIn('directory = libslirp-v99.1.0\n', wrap)
        self.assertIn('/v99.1.0/libslirp-v99.1.0.tar', wrap)
        self.assertNotIn(self.version, wrap)
        self.patchset('refresh')
        self.assertEqual((self.tree('v99.1.0') / 'README.md').read_text(),
                         'another release\n')

    def test_bump_conflict(self):
        """a bump that conflicts says where, and changes nothing"""
        file = self.add_patch(f'version: add one\n\n{BODY}',
                              'src/version.c', '/* one */\n').name
        self.make_release('99.2.0', lambda tree: (
            tree / 'src' / 'version.c').write_text('/* nothing left */\n'))
        before = contents(self.repo / 'patches'), self.wrap.read_bytes()
        message = self.refused('bump', '99.2.0')
        self.assertIn(f'{file} conflicts in src/version.c', message)
        after = contents(self.repo / 'patches'), self.wrap.read_bytes()
        self.assertEqual(before, after)
        # Settled there, the same command goes on.
        tree = self.repo / '.cache' / 'patchset' / 'bump-99.2.0'
        self.assertIn('--continue', self.refused('bump', '99.2.0'))
        (tree / 'src' / 'version.c').write_text('/* settled */\n')
        self.do('git', *IDENTITY, 'add', '-A', cwd=tree)
        self.do('git', *IDENTITY, 'am', '--continue', cwd=tree)
        self.assertIn('to 99.2.0', self.patchset('bump', '99.2.0'))
        self.assertFalse(tree.exists())

    # Meson

    def test_meson_alone(self):
        """Meson's own unpacking gives the tree that refresh gives"""
        tree = self.tree(f'v{self.version}')
        self.do('meson', 'subprojects', 'download', 'libslirp')
        by_meson = contents(tree)
        shutil.rmtree(tree)
        self.patchset('refresh')
        self.assertEqual(contents(tree), by_meson)

    def test_edited_tree(self):
        """a tree with edits of its own is not overwritten"""
        self.patchset('refresh')
        with open(self.tree(f'v{self.version}') / 'src' / 'version.c', 'a',
                  encoding='utf-8') as out:
            out.write('/* mine */\n')
        self.patchset('refresh')
        self.add_patch(f'version: add one\n\n{BODY}', 'README.md', 'one\n')
        self.assertIn('was edited by hand', self.refused('refresh'))

    def test_build_follows_series(self):
        """the next compile uses a patch that was added, edited or renamed"""
        build = self.temp / 'build'
        library = 'libslirp.so.0'
        lines = '__attribute__((used)) static const char probe[] = "probe 1";\n'

        def compile_library():
            output = self.do('meson', 'compile', '-C', build)
            return output, next(build.rglob(library)).read_bytes()

        self.do('meson', 'setup', build, self.repo, '-Dtests=false',
                '-Dbuildtype=plain')
        self.assertNotIn(b'probe 1', compile_library()[1])
        file = self.add_patch(f'version: add one\n\n{BODY}',
                              'src/version.c', lines)
        self.assertIn(b'probe 1', compile_library()[1])

        file.write_text(file.read_text().replace('probe 1', 'probe 2'))
        output, binary = compile_library()
        self.assertIn(b'probe 2', binary)
        self.assertNotIn('src_tcp_input.c', output)

        shutil.rmtree(self.scratch)
        self.patchset('import')
        self.git('commit', '-q', '--amend', '-m',
                 f'version: add another\n\n{BODY}')
        self.patchset('export')
        self.assertFalse(file.exists())
        output, binary = compile_library()
        self.assertIn(b'probe 2', binary)

        name = self.need_fuzz()
        failed = self.run_in_repo('meson', 'compile', '-C', build)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn(f'{name}: does not apply without fuzz', failed.stdout)

    # The command line

    def test_usage(self):
        """an unknown sub-command is refused, --help is not"""
        self.assertIn('see patchset --help', self.refused('frobnicate'))
        self.assertIn('see patchset --help', self.refused())
        self.assertIn('bump', self.patchset('--help'))
        done = self.run_in_repo('patches/debian-fetch', 'frobnicate')
        self.assertEqual(done.returncode, 1)
        self.assertIn('see debian-fetch --help', done.stderr)
        self.assertIn('DEBIAN_MIRROR',
                      self.do('patches/debian-fetch', '--help'))

    # What needs the network

    def test_fetch(self):
        """fetch brings the tarball through apt, once"""
        done = self.run_in_repo('patches/debian-fetch', 'source', 'trixie',
                                'libslirp', self.temp / 'apt')
        if re.search('no index|no Debian archive|missing', done.stderr):
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        if not (self.temp / 'apt' / self.tarball.name).exists():
            self.skipTest('trixie has another release than the pinned one')
        before = self.tarball.read_bytes()
        self.tarball.unlink()
        self.patchset('fetch')
        self.assertEqual(self.tarball.read_bytes(), before)
        self.assertIn('nosuch', self.run_in_repo(
            'patches/debian-fetch', 'source', 'trixie', 'nosuch',
            self.temp / 'apt').stderr)


class TapResult(unittest.TestResult):
    """Meson counts the tests one by one."""

    def report(self, verdict, test, note=''):
        title = test.shortDescription() or test.id()
        print(f'{verdict} {self.testsRun} - {title}{note}', flush=True)

    def addSuccess(self, test):
        self.report('ok', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report('ok', test, f' # SKIP {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report('not ok', test)
        print(re.sub(r'^', '# ', self.failures[-1][1], flags=re.M))

    def addError(self, test, err):
        super().addError(test, err)
        self.report('not ok', test)
        print(re.sub(r'^', '# ', self.errors[-1][1], flags=re.M))


def main():
    names = [f'{__name__}.PatchsetTest.{name}' for name in sys.argv[1:]]
    loader = unittest.defaultTestLoader
    tests = (loader.loadTestsFromNames(names) if names
             else loader.loadTestsFromTestCase(PatchsetTest))
    print(f'1..{tests.countTestCases()}')
    result = TapResult()
    tests.run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())
